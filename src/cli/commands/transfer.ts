/** `oxide-kv transfer`: hands leadership over. */
import type { Command } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import { EXIT } from '../failure.ts';
import { nodeId } from '../node-id.ts';
import { withStore } from '../store.ts';

/** Exit code 1 when it was refused, or the target did not take over in time. */
export const command: Command = {
  name: 'transfer',
  positionals: ['[ID]'],
  description: [
    'Has the leader hand over to node ID, or to the follower that is best prepared. Writes wait meanwhile, for about as long as one message takes; if the target does not take over within an election timeout, the old leader goes on. The order may be late all the same: the answer says that the outcome is unknown then, and `oxide-kv status` who leads.',
  ],
  options: CLIENT_OPTIONS,
  examples: [
    { line: 'oxide-kv transfer 2', why: 'Node 2 leads, before node 1 is stopped' },
    { line: 'oxide-kv transfer', why: 'Whoever is best prepared' },
  ],
  async run(args, context) {
    const text = args.positional(0);
    const to = text === '' ? undefined : nodeId(text, 'transfer');
    const leader = await withStore(args, context, (client) => client.transferLeader(to));
    if (args.has('json')) context.out.json({ ok: true, leader });
    else context.out.line(`Node ${leader} leads`);
    return EXIT.ok;
  },
};
