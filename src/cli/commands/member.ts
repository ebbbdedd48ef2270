/** `oxide-kv member`: who belongs to the cluster, and changes of it. */
import { sanitize } from '../../lib/text.ts';
import { formatAddress, parseAddress } from '../addresses.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import { CommandError, EXIT, UsageError } from '../failure.ts';
import { nodeId } from '../node-id.ts';
import { type StoreClient, withStore } from '../store.ts';

const ACTIONS = 'list, add, promote or remove';

/** Exit code 1 when the change was refused. */
export const command: Command = {
  name: 'member',
  positionals: ['ACTION', '[ID]', '[ADDR]'],
  description: [
    'Shows or changes the members of the cluster. ACTION is list, add ID ADDR, promote ID or remove ID.',
    'A node that is added receives the log as a learner, is counted nowhere, and becomes a voter by itself once it has caught up; with --learner it stays a learner until it is promoted. Start it with `oxide-kv node --id ID --addr ADDR --join …`, before or after. ADDR is where the other nodes reach it.',
    'With --witness the node votes and keeps no data: it tells two full copies which of them may go on when the other is gone. It must be started with --witness too. It never leads, and no majority may be witnesses alone.',
    'One change happens at a time. The leader may be removed too: it leads until the change is done, and another takes over.',
  ],
  options: [
    { name: 'learner', help: 'With add: stays a learner' },
    { name: 'witness', help: 'With add: votes, and keeps no data' },
    ...CLIENT_OPTIONS,
  ],
  examples: [
    { line: 'oxide-kv member list', why: 'Everybody, and what they are' },
    { line: 'oxide-kv member add 4 127.0.0.1:8004', why: 'Take in a fourth node' },
    { line: 'oxide-kv member add 3 127.0.0.1:8003 --witness', why: 'A third vote for two copies' },
    { line: 'oxide-kv member remove 2', why: 'Let node 2 go' },
  ],
  async run(args, context) {
    const action = args.positional(0);
    switch (action) {
      case 'list':
        return await list(args, context);
      case 'add': {
        const id = nodeId(args.positional(1), 'member add');
        if (args.positional(2) === '')
          throw new UsageError(
            '"member add" needs ADDR',
            'For example: oxide-kv member add 4 127.0.0.1:8004',
          );
        const addr = formatAddress(parseAddress(args.positional(2), 'ADDR'));
        const learner = args.has('learner');
        const witness = args.has('witness');
        if (learner && witness)
          throw new UsageError('A witness is no learner', 'Leave out --learner or --witness');
        const index = await withStore(args, context, (client) =>
          client.addNode(id, addr, { learner, witness }),
        );
        const vote = `and becomes a ${witness ? 'witness' : 'voter'} once it has caught up`;
        const what = learner ? 'as a learner' : vote;
        return done(args, context, index, `Node ${id} is a member ${what}`);
      }
      case 'promote': {
        const id = nodeId(args.positional(1), 'member promote');
        const index = await withStore(args, context, (client) => client.promoteNode(id));
        return done(args, context, index, `Node ${id} is a voter`);
      }
      case 'remove': {
        const id = nodeId(args.positional(1), 'member remove');
        const index = await withStore(args, context, (client) => client.removeNode(id));
        return done(args, context, index, `Node ${id} is no longer a member; its process can be stopped`);
      }
      default:
        throw new UsageError(`There is no action "${action}"`, `Say ${ACTIONS}`);
    }
  },
};

function done(args: Args, context: Context, index: number, sentence: string): number {
  if (args.has('json')) context.out.json({ ok: true, index });
  else context.out.line(sentence);
  return EXIT.ok;
}

async function list(args: Args, context: Context): Promise<number> {
  if (args.positional(1) !== '')
    throw new UsageError(`Unexpected argument "${args.positional(1)}" for "member list"`);
  const { members, leader } = await withStore(args, context, read);
  if (args.has('json')) {
    context.out.json({ leader, members });
    return EXIT.ok;
  }
  const rows = [
    ['NODE', 'STANDING', 'ADDRESS', 'CLIENTS', ''],
    ...members.map(({ id, standing, address, client }) => [
      String(id),
      standing,
      address === '' ? '-' : address,
      client === '' ? '-' : client,
      id === leader ? 'leader' : '',
    ]),
  ].map((row) => row.map(sanitize));
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows)
    context.out.line(
      row
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    );
  return EXIT.ok;
}

interface Member {
  readonly id: number;
  readonly standing: string;
  readonly address: string;
  readonly client: string;
}

/** The members as the node knows them that answers. */
async function read(
  client: StoreClient,
): Promise<{ readonly members: readonly Member[]; readonly leader: number }> {
  const status = await client.status();
  const listed: unknown = status['members'];
  if (!Array.isArray(listed))
    throw new CommandError('unknown', 'Cannot read the answer: it names no members');
  const members = listed.map(memberOf).filter((member) => member !== undefined);
  const hint: unknown = status['leader'];
  const leader = typeof hint === 'object' && hint !== null && 'id' in hint ? Number(hint.id) : 0;
  return { members, leader };
}

function memberOf(value: unknown): Member | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = new Map<string, unknown>(Object.entries(value));
  const text = (name: string): string => {
    const field = fields.get(name);
    return typeof field === 'string' ? field : '';
  };
  const id = fields.get('id');
  if (typeof id !== 'number') return undefined;
  return { id, standing: text('standing'), address: text('address'), client: text('client') };
}
