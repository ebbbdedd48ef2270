/** `oxide-kv scan`: lists the keys with a prefix. */
import { LIMITS } from '../../net/protocol.ts';
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { jsonField, readKey, shown } from '../data.ts';
import { EXIT } from '../failure.ts';
import { withStore } from '../store.ts';

/** One line a key, in byte order; an empty result is a result (exit code 0). */
export const command: Command = {
  name: 'scan',
  positionals: ['[PREFIX]'],
  description: [
    'Lists the keys that begin with PREFIX (all keys without one) in byte order, as KEY, a tab, and VALUE.',
    'Keys and values that hold tabs or newlines are told apart only with --json, which prints one object a line.',
  ],
  options: [
    {
      name: 'limit',
      value: 'N',
      help: `Stop after this many keys (default 1000, at most ${LIMITS.scanRowsMax})`,
    },
    { name: 'keys-only', help: 'Leave the values out' },
    ...CLIENT_OPTIONS,
    ...DATA_OPTIONS,
    { name: 'raw', help: 'Write the exact bytes to a terminal too' },
  ],
  examples: [
    { line: 'oxide-kv scan', why: 'Everything' },
    { line: 'oxide-kv scan user/ --limit 10', why: 'The first ten users' },
    { line: 'oxide-kv scan user/ --json | jq -r .key', why: 'For a script' },
  ],
  async run(args, context) {
    const { out, err } = context;
    const prefix = readKey(args.positional(0), args);
    const limit = args.integer('limit', { min: 1, max: LIMITS.scanRowsMax }, 1000);
    // One row more than is shown tells whether there are more.
    const asked = Math.min(limit + 1, LIMITS.scanRowsMax);
    const rows = await withStore(args, context, (client) => client.scan(prefix, { limit: asked }));
    const exact = args.has('raw') || !out.isTty;
    const isKeysOnly = args.has('keys-only');
    for (const { key, value } of rows.slice(0, limit)) {
      if (out.isClosed) break;
      if (args.has('json')) {
        const rest = isKeysOnly ? {} : jsonField('value', value, args.has('base64'));
        out.json({ ...jsonField('key', key, args.has('base64-key')), ...rest });
        continue;
      }
      out.write(shown(key, { base64: args.has('base64-key'), exact }));
      if (!isKeysOnly) {
        out.write('\t');
        out.write(shown(value, { base64: args.has('base64'), exact }));
      }
      out.write('\n');
    }
    if (rows.length > limit) err.line(`Stopped after ${limit} keys; there are more (--limit)`);
    return EXIT.ok;
  },
};
