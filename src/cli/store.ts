/** The way of client commands to the store: endpoints, deadline, and what they mean when nobody is there. */
import type { connect } from '../client/json-lines-client.ts';
import { OxideError } from '../lib/errors.ts';
import { formatAddress, parseAddress } from './addresses.ts';
import type { Args } from './args.ts';
import { splitList } from './args.ts';
import type { Context } from './command.ts';
import { CommandError, UsageError } from './failure.ts';

/** A client as {@link connect} gives it. */
export type StoreClient = Awaited<ReturnType<typeof connect>>;

/** Where clients connect unless told otherwise: the first node of `oxide-kv serve`. */
export const DEFAULT_ENDPOINT = '127.0.0.1:9001';

/** The endpoints of a client command: from `--endpoint`, else from OXIDE_KV_ENDPOINT, else the default. */
export function endpointsOf(args: Args, env: Context['env']): readonly string[] {
  const given = args.list('endpoint');
  if (args.has('endpoint')) {
    if (given.length === 0) throw new UsageError('Option --endpoint is empty, expected HOST:PORT');
    return normalize(given, 'Option --endpoint');
  }
  const fromEnv = splitList([env['OXIDE_KV_ENDPOINT'] ?? '']);
  return fromEnv.length === 0 ? [DEFAULT_ENDPOINT] : normalize(fromEnv, 'OXIDE_KV_ENDPOINT');
}

function normalize(texts: readonly string[], what: string): readonly string[] {
  return [...new Set(texts.map((text) => formatAddress(parseAddress(text, what))))];
}

/** How long a client command waits for its answer, in milliseconds. */
export function timeoutOf(args: Args): number {
  return args.integer('timeout', { min: 1, max: 3_600_000 }, 10_000);
}

/** Runs `use` with a client of the command's endpoints and closes it. Connection failures come as sentences. */
export async function withStore<T>(
  args: Args,
  context: Context,
  use: (client: StoreClient) => Promise<T>,
): Promise<T> {
  const endpoints = endpointsOf(args, context.env);
  const client = await open(endpoints, timeoutOf(args)).catch((error: unknown) => {
    throw connectError(error, endpoints) ?? error;
  });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

/** "Cannot reach …" for an error of {@link connect} because nobody is there; undefined for every other one. */
export function connectError(error: unknown, endpoints: readonly string[]): CommandError | undefined {
  if (!(error instanceof OxideError) || error.code !== 'unavailable') return undefined;
  const reason = connectFailure(error);
  if (reason === undefined) return undefined;
  const message = `Cannot reach ${endpoints.join(', ')}: ${reason}. Start one with \`oxide-kv serve\``;
  return new CommandError('unavailable', message, { cause: error });
}

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ECONNREFUSED', 'connection refused'],
  ['ENOTFOUND', 'no such host'],
  ['EAI_AGAIN', 'no such host'],
  ['EHOSTUNREACH', 'host unreachable'],
  ['ENETUNREACH', 'network unreachable'],
]);

/** The system's reason in a chain of causes, in words; undefined when the connection is not what failed. */
export function connectFailure(error: unknown): string | undefined {
  let link: unknown = error;
  for (let depth = 0; depth < 8 && link instanceof Error; depth++) {
    const code = 'code' in link ? String(link.code) : '';
    const reason = REASONS.get(code);
    if (reason !== undefined) return reason;
    link = link instanceof AggregateError && link.errors.length > 0 ? link.errors[0] : link.cause;
  }
  return undefined;
}

/** One node's account of itself, as the door sends it (server/json-codec.ts). Rejects when it does not answer. */
export async function nodeStatus(endpoint: string, timeoutMs: number): Promise<object> {
  const client = await open([endpoint], timeoutMs);
  try {
    return await client.status();
  } finally {
    await client.close();
  }
}

/** Imported when it is needed: the help and wrong usage answer at once. */
async function open(endpoints: readonly string[], timeoutMs: number): Promise<StoreClient> {
  const { connect } = await import('../client/json-lines-client.ts');
  return await connect(endpoints, { timeoutMs });
}
