/** Runs scripts of both languages with something broken, and says what caught it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { breaker } from '../../src/lessons/breaker.ts';
import { NodeScript } from './node-script.ts';
import { type NodeInvariant, NodeViolation } from './node-watch.ts';
import { type Invariant, InvariantViolation } from './raft-invariants.ts';
import { ExpectationFailure, RaftScript, commandsOf } from './raft-script.ts';

/** `expectation`: no invariant is broken, but something in the script ends otherwise or never. */
export type Catch = Invariant | NodeInvariant | 'expectation';

/**
 * Runs a script of the core (`raft/…`) or of whole nodes (`node/…`), by its path below `scripts`.
 *
 * @param broken name of a rule or a duty; undefined for the sound system
 * @returns what caught it; undefined when nothing did. Any other error is thrown
 */
export function catchOf(script: string, broken: string | undefined): Catch | undefined {
  const twin = breaker(broken);
  const [language = '', ...path] = script.split('/');
  const file = fileURLToPath(new URL(`../${language}/scripts/${path.join('/')}`, import.meta.url));
  const runner = language === 'raft' ? new RaftScript({ rules: twin.rules }) : new NodeScript(twin);
  try {
    for (const command of commandsOf(readFileSync(file, 'utf8'))) runner.run(command);
  } catch (error) {
    if (error instanceof InvariantViolation || error instanceof NodeViolation) return error.invariant;
    if (error instanceof ExpectationFailure) return 'expectation';
    throw error;
  }
  return undefined;
}
