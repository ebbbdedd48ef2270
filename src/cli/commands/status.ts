/** `oxide-kv status`: asks nodes for their own account of themselves and shows it as a table. */
import { sanitize } from '../../lib/text.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Command, Context } from '../command.ts';
import { CLIENT_OPTIONS } from '../command.ts';
import type { Args } from '../args.ts';
import { EXIT } from '../failure.ts';
import { connectFailure, endpointsOf, nodeStatus, timeoutOf } from '../store.ts';
import { bytesText } from '../units.ts';

/** Endpoints asked at most, those that answers lead to included. */
const ENDPOINTS_MAX = 64;

/** Exit code 1 unless some node that answered leads. */
export const command: Command = {
  name: 'status',
  positionals: [],
  description: [
    'Asks every endpoint, and the leader they name, for its role, term and log positions. Each node speaks for itself: in a partition two nodes may both say that they lead, and the higher term is right.',
    'Exit code 1 if no node that answered leads.',
  ],
  options: CLIENT_OPTIONS,
  examples: [
    { line: 'oxide-kv status', why: 'The node on this machine, and its leader' },
    { line: 'oxide-kv status -e 127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003', why: 'Every node' },
    { line: 'oxide-kv status --json', why: 'One JSON document for a script' },
  ],
  async run(args, context) {
    const rows = await askAll(args, context);
    const leader = leaderOf(rows);
    if (args.has('json')) {
      context.out.json({
        leader: leader ?? null,
        nodes: rows.map(({ endpoint, answer }) =>
          answer.kind === 'status'
            ? { endpoint, ...answer.status }
            : { endpoint, code: 'unavailable', message: answer.message },
        ),
      });
    } else {
      for (const line of table(rows)) context.out.line(line);
      if (leader === undefined) context.err.line('No leader among the nodes that answered');
    }
    return leader === undefined ? EXIT.failed : EXIT.ok;
  },
};

interface Row {
  readonly endpoint: string;
  readonly answer:
    | { readonly kind: 'status'; readonly status: object }
    | { readonly kind: 'none'; readonly message: string };
}

/** Asks all endpoints at once, then the leaders their answers name and that were not asked yet. */
async function askAll(args: Args, context: Context): Promise<readonly Row[]> {
  const timeoutMs = timeoutOf(args);
  let endpoints = endpointsOf(args, context.env);
  const asked = new Set<string>();
  const rows: Row[] = [];
  while (endpoints.length > 0 && asked.size < ENDPOINTS_MAX) {
    for (const endpoint of endpoints) asked.add(endpoint);
    rows.push(...(await Promise.all(endpoints.map((endpoint) => ask(endpoint, timeoutMs)))));
    const ids = new Set(rows.map((row) => numberAt(row, 'raft', 'id')));
    const named = rows
      .filter((row) => !ids.has(numberAt(row, 'leader', 'id')))
      .map((row) => textAt(row, 'leader', 'client'));
    endpoints = [...new Set(named)].filter((endpoint) => endpoint !== '' && !asked.has(endpoint));
  }
  return rows;
}

async function ask(endpoint: string, timeoutMs: number): Promise<Row> {
  try {
    return { endpoint, answer: { kind: 'status', status: await nodeStatus(endpoint, timeoutMs) } };
  } catch (error) {
    const reason = connectFailure(error);
    return { endpoint, answer: { kind: 'none', message: reason ?? messageOf(error) } };
  }
}

/** Id of the leader of the highest term among the nodes that say they lead. */
function leaderOf(rows: readonly Row[]): number | undefined {
  const leaders = rows.filter((row) => textAt(row, 'raft', 'role') === 'leader');
  const highest = leaders.toSorted((a, b) => numberAt(b, 'raft', 'term') - numberAt(a, 'raft', 'term'))[0];
  return highest === undefined ? undefined : numberAt(highest, 'raft', 'id');
}

const HEADER: readonly string[] = [
  'NODE',
  'ENDPOINT',
  'ROLE',
  'TERM',
  'LEADER',
  'COMMIT',
  'APPLIED',
  'LAST',
  'WAL',
  'ENGINE',
  'KEYS',
  'REVISION',
];

function stateOf(row: Row): string {
  const storage = textAt(row, 'storage');
  if (storage === 'failed') return 'disk failed';
  return `${roleOf(row)}${leadOf(row)}${storage === 'full' ? ', disk full' : ''}`;
}

function table(rows: readonly Row[]): readonly string[] {
  const sorted = rows.toSorted((a, b) => numberAt(a, 'raft', 'id') - numberAt(b, 'raft', 'id'));
  const cells = sorted.map((row) =>
    row.answer.kind === 'status'
      ? [
          cell(row, 'raft', 'id'),
          row.endpoint,
          stateOf(row),
          cell(row, 'raft', 'term'),
          numberAt(row, 'raft', 'leader') === 0 ? '-' : cell(row, 'raft', 'leader'),
          cell(row, 'raft', 'commit'),
          cell(row, 'raft', 'applied'),
          cell(row, 'raft', 'last', 'index'),
          bytesText(numberAt(row, 'wal_bytes')),
          textAt(row, 'engine', 'kind') || '?',
          cell(row, 'keys'),
          cell(row, 'revision'),
        ].map(sanitize)
      : ['?', row.endpoint, sanitize(row.answer.message)],
  );
  const widths = HEADER.map((name, column) =>
    // The reason of a node that did not answer runs over the columns behind it.
    Math.max(
      name.length,
      ...cells.filter((row) => row.length > column + 1).map((row) => row[column]?.length ?? 0),
    ),
  );
  return [HEADER, ...cells].map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** The role; of a witness, which is never another, and of a learner or a node that is no member, which are counted nowhere, that instead. */
function roleOf(row: Row): string {
  const role = textAt(row, 'raft', 'role');
  const members = valueAt(row, ['members']);
  if (role !== 'follower' || !Array.isArray(members)) return role;
  const id = numberAt(row, 'raft', 'id');
  for (const member of members) {
    if (typeof member !== 'object' || member === null) continue;
    const fields = new Map<string, unknown>(Object.entries(member));
    if (fields.get('id') !== id) continue;
    const standing = fields.get('standing');
    if (standing === 'witness') return standing;
    return standing === 'learner' || standing === 'promoting' ? 'learner' : role;
  }
  return 'no member';
}

/** What there is to add of a leader: to whom it hands over, or that it reads by a lease, which outlasts its next heartbeat. */
function leadOf(row: Row): string {
  const to = numberAt(row, 'raft', 'transfer_to');
  if (to !== 0) return ` (hands over to ${to})`;
  const leaseUntilMs = numberAt(row, 'raft', 'lease_until_ms');
  return leaseUntilMs > numberAt(row, 'raft', 'deadline_ms') ? ' (lease)' : '';
}

/** What an answer holds at a path; undefined when the node sent something else. */
function valueAt(row: Row, path: readonly string[]): unknown {
  let value: unknown = row.answer.kind === 'status' ? row.answer.status : undefined;
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = new Map<string, unknown>(Object.entries(value)).get(name);
  }
  return value;
}

function numberAt(row: Row, ...path: readonly string[]): number {
  const value = valueAt(row, path);
  return typeof value === 'number' ? value : 0;
}

function textAt(row: Row, ...path: readonly string[]): string {
  const value = valueAt(row, path);
  return typeof value === 'string' ? value : '';
}

function cell(row: Row, ...path: readonly string[]): string {
  const value = valueAt(row, path);
  return typeof value === 'number' ? String(value) : '?';
}
