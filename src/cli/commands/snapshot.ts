/** `oxide-kv snapshot`: has nodes save a snapshot now. */
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import { EXIT } from '../failure.ts';
import { connectError, endpointsOf, withStore } from '../store.ts';

/** Exit code 1 when an endpoint did not do it. */
export const command: Command = {
  name: 'snapshot',
  positionals: [],
  description: [
    'Has every endpoint save a snapshot of its state and let the log behind it go. Nodes do this by themselves as the log grows; now is a good time before one is stopped for long, or before a new node joins.',
  ],
  options: CLIENT_OPTIONS,
  examples: [{ line: 'oxide-kv snapshot -e 127.0.0.1:9001,127.0.0.1:9002', why: 'Two nodes' }],
  async run(args, context) {
    const endpoints = endpointsOf(args, context.env);
    for (const endpoint of endpoints) {
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
  },
};
