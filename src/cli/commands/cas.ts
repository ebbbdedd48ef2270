/** `oxide-kv cas`: sets a key only if it holds an expected value. */
import { displayText } from '../../lib/bytes.ts';
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { readKey, readValue } from '../data.ts';
import { EXIT, UsageError } from '../failure.ts';
import { withStore } from '../store.ts';

/** Exit code 1 when the key holds something else: then nothing changed. */
export const command: Command = {
  name: 'cas',
  positionals: ['KEY', 'EXPECTED', '[VALUE]'],
  description: [
    'Sets KEY to VALUE if it holds EXPECTED now; both happen as one step. If it holds something else, nothing changes and the exit code is 1.',
    'With --absent the arguments are KEY VALUE, and the key must not be there. One of EXPECTED and VALUE may be "-", all of standard input.',
  ],
  options: [
    { name: 'absent', help: 'Set KEY only if it is not there: cas KEY VALUE --absent' },
    ...CLIENT_OPTIONS,
    ...DATA_OPTIONS,
  ],
  examples: [
    { line: 'oxide-kv cas counter 41 42', why: 'Count without losing a step' },
    { line: 'oxide-kv cas lock me --absent', why: 'Only the first one gets it' },
  ],
  async run(args, context) {
    const isAbsent = args.has('absent');
    const count = isAbsent ? 2 : 3;
    if (args.positionals.length !== count) {
      throw new UsageError(
        `Command "cas" got ${args.positionals.length} arguments, expected ${count}`,
        `Usage: oxide-kv cas ${isAbsent ? 'KEY VALUE --absent' : 'KEY EXPECTED VALUE'}`,
      );
    }
    if (args.positional(1) === '-' && args.positional(2) === '-') {
      throw new UsageError('Only one of EXPECTED and VALUE can come from standard input');
    }
    const key = readKey(args.positional(0), args);
    const expected = isAbsent ? undefined : await readValue(args.positional(1), 'EXPECTED', args, context);
    const value = await readValue(args.positional(count - 1), 'VALUE', args, context);
    const swapped = await withStore(args, context, (client) => client.cas(key, expected, value));
    if (args.has('json')) {
      context.out.json(
        swapped ? { ok: true } : { ok: false, code: 'compare_failed', message: 'Not set: compare failed' },
      );
    } else if (swapped) {
      context.out.line('OK');
    } else {
      context.err.line(
        `Not set: key "${displayText(key)}" ${isAbsent ? 'is there already' : 'does not hold the expected value'}`,
      );
    }
    return swapped ? EXIT.ok : EXIT.failed;
  },
};
