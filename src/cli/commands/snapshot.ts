/** `oxide-kv snapshot`: has nodes save a snapshot now; saves one to a file, and makes a new cluster out of a file. */
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import { ENGINE_OPTION } from '../engine-option.ts';
import { EXIT, UsageError } from '../failure.ts';
import { restore, save } from '../snapshot-files.ts';
import { connectError, endpointsOf, withStore } from '../store.ts';

/** Exit code 1 when an endpoint did not do it, or when the file is not whole; 130, with nothing made, when interrupted. */
export const command: Command = {
  name: 'snapshot',
  positionals: ['[ACTION]', '[FILE]'],
  description: [
    'Without ACTION: has every endpoint save a snapshot of its state in its own data directory and let the log behind it go. Nodes do this by themselves as the log grows; now is a good time before one is stopped for long, or before a new node joins.',
    'save FILE: writes all keys of the cluster, as they are at one moment, with their revisions and leases, to FILE, under a checksum. Earlier values and the sessions of clients are not part of it.',
    'restore FILE --data DIR: makes the data directories of a new cluster out of FILE, for `oxide-kv serve --data DIR`, or one by one for `oxide-kv node --data DIR/node-1 --id 1 --cluster NAME` with the NAME that is printed. It goes on with the revisions of the old one. No member of another cluster can mix in, because the name is new. Leases begin anew.',
  ],
  options: [
    { name: 'data', short: 'd', value: 'DIR', help: 'With restore: the directory to make' },
    { name: 'nodes', short: 'n', value: 'N', help: 'With restore: number of nodes, 1 to 9 (default 3)' },
    { ...ENGINE_OPTION, help: 'With restore: memory or lsm (default memory)' },
    ...CLIENT_OPTIONS,
  ],
  examples: [
    { line: 'oxide-kv snapshot -e 127.0.0.1:9001,127.0.0.1:9002', why: 'Two nodes save one for themselves' },
    { line: 'oxide-kv snapshot save backup.snapshot', why: 'A backup' },
    { line: 'oxide-kv snapshot restore backup.snapshot --data restored', why: 'A new cluster from it' },
  ],
  async run(args, context) {
    const action = args.positional(0);
    if (action === '') return await saveInNodes(args, context);
    if (action !== 'save' && action !== 'restore')
      throw new UsageError(`There is no action "${action}"`, 'Say save or restore, or nothing');
    if (args.positional(1) === '')
      throw new UsageError(
        `"snapshot ${action}" needs FILE`,
        `For example: oxide-kv snapshot ${action} backup.snapshot`,
      );
    return action === 'save' ? await save(args, context) : await restore(args, context);
  },
};

async function saveInNodes(args: Args, context: Context): Promise<number> {
  for (const endpoint of endpointsOf(args, context.env)) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other, so that not every node is busy at once
    const index = await withStore(args, context, (client) => client.compact(endpoint)).catch(
      (error: unknown) => {
        throw connectError(error, [endpoint]) ?? error;
      },
    );
    if (args.has('json')) context.out.json({ endpoint, index });
    else context.out.line(`${endpoint} holds everything up to ${index} in a snapshot`);
  }
  return EXIT.ok;
}
