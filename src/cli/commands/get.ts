/** `oxide-kv get`: prints the value of a key. */
import { displayText } from '../../lib/bytes.ts';
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { jsonField, readKey, shown } from '../data.ts';
import { EXIT } from '../failure.ts';
import { withStore } from '../store.ts';

/** Prints exactly the bytes of the value to a pipe; to a terminal in a form that cannot act on it. Absent: exit code 1. */
export const command: Command = {
  name: 'get',
  positionals: ['KEY'],
  description: [
    'Prints the value of KEY. The read is linearizable: it sees every write that was acknowledged before it began.',
    'To a pipe or a file go exactly the bytes of the value, without a newline. On a terminal, control characters are made visible and a newline is added. A key that is not there: exit code 1.',
  ],
  options: [
    ...CLIENT_OPTIONS,
    ...DATA_OPTIONS,
    { name: 'raw', help: 'Write the exact bytes to a terminal too' },
  ],
  examples: [
    { line: 'oxide-kv get greeting', why: 'Print a value' },
    { line: 'oxide-kv get photo > photo.jpg', why: 'Values are bytes' },
    {
      line: 'oxide-kv get greeting --endpoint 127.0.0.1:9001,127.0.0.1:9002 --json',
      why: 'Any node answers',
    },
  ],
  async run(args, { out, err, ...rest }) {
    const key = readKey(args.positional(0), args);
    const base64 = args.has('base64');
    const value = await withStore(args, { out, err, ...rest }, (client) => client.get(key));
    if (args.has('json')) {
      const found = value === undefined ? {} : jsonField('value', value, base64);
      out.json({ found: value !== undefined, ...jsonField('key', key, args.has('base64-key')), ...found });
    } else if (value === undefined) {
      err.line(`Key "${displayText(key)}" not found`);
    } else {
      const exact = args.has('raw') || !out.isTty;
      out.write(shown(value, { base64, exact }));
      if (base64 || !exact) out.write('\n');
    }
    return value === undefined ? EXIT.failed : EXIT.ok;
  },
};
