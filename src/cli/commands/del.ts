/** `oxide-kv del`: deletes a key. */
import { displayText } from '../../lib/bytes.ts';
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { readKey } from '../data.ts';
import { EXIT } from '../failure.ts';
import { withStore } from '../store.ts';

/** Exit code 1 when the key was not there. */
export const command: Command = {
  name: 'del',
  positionals: ['KEY'],
  description: ['Deletes KEY. If it was not there, nothing changes and the exit code is 1.'],
  options: [...CLIENT_OPTIONS, ...DATA_OPTIONS.filter((option) => option.name === 'base64-key')],
  examples: [
    { line: 'oxide-kv del greeting', why: 'Delete a key' },
    { line: 'oxide-kv del greeting --json', why: 'Whether it was there, for a script' },
  ],
  async run(args, context) {
    const key = readKey(args.positional(0), args);
    const existed = await withStore(args, context, (client) => client.delete(key));
    if (args.has('json')) context.out.json({ ok: true, existed });
    else if (existed) context.out.line('Deleted');
    else context.err.line(`Key "${displayText(key)}" not found`);
    return existed ? EXIT.ok : EXIT.failed;
  },
};
