/** What restarts make of a disk: the same every time, whatever power cuts come between them. */
import { CorruptionError, OxideError, StorageError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import { hashOf, imageOf } from './images.ts';
import { type Scenario, Violation } from './story.ts';

/** Calls that no opening of a few small files needs: what makes more never ends. */
const CALLS_MAX = 20_000;

/** Whether an error is one that the product may give for what a disk does. */
export function isTyped(error: unknown): boolean {
  return error instanceof StorageError || error instanceof CorruptionError || error instanceof OxideError;
}

/** An error in one line. */
export function lineOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const place = isTyped(error) ? '' : ` (${error.stack?.split('\n')[1]?.trim() ?? ''})`;
  return `${error.name}: ${error.message}${place}`;
}

/** Ends a program that makes more than `callsMax` calls from now on. */
export function bounded(fs: CrashFileSystem, callsMax: number = CALLS_MAX): void {
  const last = fs.calls + callsMax;
  fs.intercept = ({ number }) => {
    if (number > last) throw new Violation(`it makes more than ${callsMax} calls and never ends`);
    return undefined;
  };
}

/**
 * Opens a disk as restarts do: once, again after the worst power cut, and once more.
 *
 * @returns what it holds
 * @throws Violation when one of them finds something else, fails, or leaves files open
 */
export function restart(scenario: Scenario, fs: CrashFileSystem): string {
  const found = look(scenario, fs, 'a restart');
  const cut = fs.crash(new Random(0), 'worst');
  const again = look(scenario, cut, 'a restart behind a restart and a power cut');
  if (again !== found)
    throw new Violation(`behind a restart a power cut changes what is there: ${found} to ${again}`);
  const before = hashOf(imageOf(cut));
  const third = look(scenario, cut, 'a third restart');
  if (third !== found) throw new Violation(`a third restart changes what is there: ${found} to ${third}`);
  if (scenario.isProcess !== true && hashOf(imageOf(cut)) !== before)
    throw new Violation('a third restart changes files');
  return found;
}

/** One opening that must succeed. */
function look(scenario: Scenario, fs: CrashFileSystem, what: string): string {
  bounded(fs);
  const openBefore = fs.openFiles;
  try {
    const found = scenario.recover(fs);
    const left = fs.openFiles - openBefore;
    if (left > 0) throw new Violation(`${what} leaves ${left} files open`);
    return found;
  } catch (error) {
    if (error instanceof Violation) throw error;
    throw new Violation(`${what} fails: ${lineOf(error)}`, { cause: error });
  } finally {
    fs.intercept = undefined;
  }
}
