/** `oxide-kv scan`: lists the keys with a prefix. */
import { OxideError } from '../../lib/errors.ts';
import { LIMITS } from '../../net/protocol.ts';
import type { KeyValue } from '../../net/protocol.ts';
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { jsonField, readKey, shown } from '../data.ts';
import { EXIT } from '../failure.ts';
import type { StoreClient } from '../store.ts';
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
    const { rows, more } = await withStore(args, context, (client) => read(client, prefix, limit));
    const exact = args.has('raw') || !out.isTty;
    const isKeysOnly = args.has('keys-only');
    for (const { key, value } of rows) {
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
    if (more) err.line(`Stopped after ${limit} keys; there are more (--limit)`);
    return EXIT.ok;
  },
};

interface Rows {
  readonly rows: readonly KeyValue[];
  readonly more: boolean;
}

/** Asks for one row more than is shown, which tells whether there are more. */
async function read(client: StoreClient, prefix: Uint8Array, limit: number): Promise<Rows> {
  const asked = Math.min(limit + 1, LIMITS.scanRowsMax);
  try {
    const rows = await client.scan(prefix, { limit: asked });
    return { rows: rows.slice(0, limit), more: rows.length > limit };
  } catch (error) {
    if (!isTooLarge(error) || asked === limit) throw error;
  }
  // The one row more may be what did not fit; then there are more, and the others may fit.
  try {
    return { rows: await client.scan(prefix, { limit }), more: true };
  } catch (error) {
    if (!isTooLarge(error)) throw error;
    throw new OxideError('too_large', `${error.message}; a smaller --limit fits`, { cause: error });
  }
}

function isTooLarge(error: unknown): error is OxideError {
  return error instanceof OxideError && error.code === 'too_large';
}
