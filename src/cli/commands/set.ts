/** `oxide-kv set`: sets a key to a value. */
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { readKey, readValue } from '../data.ts';
import { EXIT } from '../failure.ts';
import { withStore } from '../store.ts';

/** Returns after a majority has the write on disk and it is applied. */
export const command: Command = {
  name: 'set',
  positionals: ['KEY', 'VALUE'],
  description: [
    'Sets KEY to VALUE and prints the position of the write in the log. When it returns 0, a majority of the nodes has the write on disk.',
    'VALUE "-" is all of standard input, exactly as it comes. If no answer arrives in time the outcome is unknown, and the command says so (exit code 1, code "unknown" with --json).',
  ],
  options: [...CLIENT_OPTIONS, ...DATA_OPTIONS],
  examples: [
    { line: 'oxide-kv set greeting hello', why: 'Set a value' },
    { line: 'oxide-kv set photo - < photo.jpg', why: 'A value from standard input' },
    { line: 'oxide-kv set offset -- -5', why: 'A value that begins with a dash' },
    { line: 'oxide-kv set flag AAE= --base64', why: 'A value of any bytes' },
  ],
  async run(args, context) {
    const key = readKey(args.positional(0), args);
    const value = await readValue(args.positional(1), 'VALUE', args, context);
    const index = await withStore(args, context, (client) => client.set(key, value));
    if (args.has('json')) context.out.json({ ok: true, index });
    else context.out.line(`OK, index ${index}`);
    return EXIT.ok;
  },
};
