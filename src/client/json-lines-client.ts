/**
 * A client of the store over its JSON-lines doors. Writes are exactly once, by a session opened with the first of them
 * (thesis §6.3); json-lines-router.ts finds the leader and repeats, json-lines-link.ts holds one connection.
 */
import type { ClusterClient, Data } from '../cluster/api.ts';
import { textOf } from '../lib/bytes.ts';
import { OxideError, messageOf } from '../lib/errors.ts';
import { LIMITS } from '../net/protocol.ts';
import type { KeyValue } from '../net/protocol.ts';
import {
  COMPACT,
  OPEN_SESSION,
  STATUS,
  changeRequest,
  keyBytes,
  lineOf,
  prepare,
  valueBytes,
} from './json-lines-codec.ts';
import type { Answer, Prepared, StatusDocument } from './json-lines-codec.ts';
import { parseEndpoint } from './json-lines-link.ts';
import { Router } from './json-lines-router.ts';
import type { Delivered } from './json-lines-router.ts';
import { Session } from './session.ts';
import { RequestGate } from './request-gate.ts';

export interface ConnectOptions {
  /** A request that has no answer by then ends: `unknown` for a write that may have happened, `unavailable` otherwise. Default 10 s. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS_DEFAULT = 10_000;
const SCAN_ROWS_DEFAULT = 1000;

/**
 * Connects to the first of `endpoints` that answers. The others are tried when it fails, and leaders that nodes name.
 *
 * @param endpoints `host:port` or `[ipv6]:port`; one text may hold several, with commas
 * @throws OxideError `unavailable` when no endpoint answers, with the system's error as its cause; `bad_request` for
 * what is not an endpoint
 */
export async function connect(
  endpoints: readonly string[] | string,
  options: ConnectOptions = {},
): Promise<JsonLinesClient> {
  const list = (typeof endpoints === 'string' ? endpoints.split(',') : endpoints).map((text) =>
    checked(text.trim()),
  );
  if (list.length === 0) throw new OxideError('bad_request', 'Cannot connect: no endpoint given');
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
    throw new OxideError('bad_request', `Cannot connect: timeoutMs is ${timeoutMs}, expected 1 to 2^31 - 1`);
  }
  const router = new Router(list, timeoutMs);
  try {
    await router.open();
  } catch (error) {
    router.close();
    throw error;
  }
  return new JsonLinesClient(router, timeoutMs);
}

/** Made by {@link connect}. Owns its connections until {@link JsonLinesClient.close}. */
export class JsonLinesClient implements ClusterClient {
  readonly #router: Router;
  readonly #timeoutMs: number;
  readonly #gate = new RequestGate();
  #session: Promise<Session> | undefined;
  #isClosed = false;

  constructor(router: Router, timeoutMs: number) {
    this.#router = router;
    this.#timeoutMs = timeoutMs;
  }

  async set(key: Data, value: Data): Promise<number> {
    const answer = await this.#call(
      prepare('Set', [
        ['key', keyBytes(key)],
        ['value', valueBytes(value)],
      ]),
    );
    return answer.kind === 'ok' ? answer.index : unexpected(answer);
  }

  async get(key: Data): Promise<Uint8Array | undefined> {
    const answer = await this.#call(prepare('Get', [['key', keyBytes(key)]]));
    return answer.kind === 'value' ? answer.value : unexpected(answer);
  }

  /** @throws OxideError `bad_request` when the value is not UTF-8 */
  async getText(key: Data): Promise<string | undefined> {
    const value = await this.get(key);
    if (value === undefined) return undefined;
    const text = textOf(value);
    if (text === undefined) throw new OxideError('bad_request', 'Cannot read value as text: it is not UTF-8');
    return text;
  }

  async delete(key: Data): Promise<boolean> {
    const answer = await this.#call(prepare('Delete', [['key', keyBytes(key)]]));
    return answer.kind === 'ok' ? answer.existed : unexpected(answer);
  }

  /** @throws OxideError `too_large` when the rows hold more bytes than one answer may: never fewer rows than there are */
  async scan(prefix: Data, options: { readonly limit?: number } = {}): Promise<readonly KeyValue[]> {
    const limit = options.limit ?? SCAN_ROWS_DEFAULT;
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > LIMITS.scanRowsMax) {
      throw new OxideError(
        'bad_request',
        `Cannot scan: limit is ${limit}, expected 1 to ${LIMITS.scanRowsMax}`,
      );
    }
    const request = prepare('Scan', [
      ['prefix', keyBytes(prefix)],
      ['limit', limit],
    ]);
    const answer = await this.#call(request);
    if (answer.kind !== 'rows') return unexpected(answer);
    if (answer.more && answer.rows.length < limit) {
      const message = `Cannot scan: ${answer.rows.length} rows fill an answer, scanBytesMax is ${LIMITS.scanBytesMax}`;
      throw new OxideError('too_large', message);
    }
    return answer.rows;
  }

  async cas(key: Data, expected: Data | undefined, value: Data): Promise<boolean> {
    const answer = await this.#call(
      prepare('Cas', [
        ['key', keyBytes(key)],
        ['expected', expected === undefined ? null : valueBytes(expected)],
        ['value', valueBytes(value)],
      ]),
    );
    if (answer.kind === 'mismatch') return false;
    return answer.kind === 'ok' ? true : unexpected(answer);
  }

  /** Asks the state machine; query and result in binary form (kv/operation-codec.ts). Linearizable. */
  async query(query: Uint8Array): Promise<Uint8Array> {
    const answer = await this.#call(prepare('Query', [['query', query]]));
    return answer.kind === 'result' ? answer.result : unexpected(answer);
  }

  /** Carries an operation out, exactly once. @returns its position in the log, and the result, both in binary form */
  async operate(operation: Uint8Array): Promise<{ readonly index: number; readonly result: Uint8Array }> {
    const answer = await this.#call(prepare('Operation', [['operation', operation]]));
    return answer.kind === 'result' ? answer : unexpected(answer);
  }

  /**
   * A node's own account of itself. Asks once: a node that does not answer is the news.
   *
   * @param endpoint which node; default the one that this client talks to
   * @throws OxideError `unavailable` when it does not answer
   */
  async status(endpoint?: string): Promise<StatusDocument> {
    const answer = await this.#askNode(STATUS, 'read status', endpoint);
    return answer.kind === 'status' ? answer.status : unexpected(answer);
  }

  /**
   * Adds a member: a learner first, made a voter once it has caught up, unless `learner` says that it stays one. With
   * `witness` it votes and keeps no data; it must have been started so. The node itself is started apart. Asked again after an `unknown`, it is refused with `already_member` if it was added.
   *
   * @param address `host:port` where the other nodes reach it
   * @returns the position of the new configuration in the log
   * @throws OxideError `already_member`, `change_pending`, `too_many_members`
   */
  async addNode(
    id: number,
    address: string,
    options: { readonly learner?: boolean; readonly witness?: boolean } = {},
  ): Promise<number> {
    const witness = options.witness === true ? { witness: true } : {};
    const server = { node_id: String(id), addr: address, ...witness };
    return this.#change(
      changeRequest('AddNode', { server, ...(options.learner === true ? { learner: true } : {}) }),
    );
  }

  /** Makes a learner a voter now. @throws OxideError `not_member`, `already_member`, `change_pending` */
  async promoteNode(id: number): Promise<number> {
    return this.#change(changeRequest('PromoteNode', { node_id: String(id) }));
  }

  /** Removes a member, which may be the leader. @throws OxideError `not_member`, `cannot_remove_last_server`, `change_pending` */
  async removeNode(id: number): Promise<number> {
    return this.#change(changeRequest('RemoveNode', { node_id: String(id) }));
  }

  /** Hands leadership over, to `id` or to whoever is best prepared. @returns who leads now */
  async transferLeader(id?: number): Promise<number> {
    const answer = await this.#call(
      changeRequest('TransferLeader', id === undefined ? {} : { node_id: String(id) }),
    );
    return answer.kind === 'leader' ? answer.leader : unexpected(answer);
  }

  /**
   * Has one node save a snapshot and let its log go.
   *
   * @param endpoint which node; default the one that this client talks to
   * @returns the last index that its snapshot holds
   */
  async compact(endpoint?: string): Promise<number> {
    const answer = await this.#askNode(COMPACT, 'save a snapshot', endpoint);
    return answer.kind === 'ok' ? answer.index : unexpected(answer);
  }

  /** Ends pending requests: `unknown` for a write that was sent, `closed` for everything else. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#gate.close();
    this.#router.close();
  }

  async #change(request: Prepared): Promise<number> {
    const answer = await this.#call(request);
    return answer.kind === 'ok' ? answer.index : unexpected(answer);
  }

  /** Asks one node, once. */
  async #askNode(request: Prepared, what: string, endpoint: string | undefined): Promise<Answer> {
    if (this.#isClosed) throw closedError();
    const at = endpoint === undefined ? undefined : checked(endpoint);
    const delivery = await this.#router.ask(lineOf(request), at);
    if (delivery.kind === 'answer') return delivery.answer;
    const message = `Cannot ${what}: ${messageOf(delivery.cause)}`;
    throw new OxideError(this.#isClosed ? 'closed' : 'unavailable', message, { cause: delivery.cause });
  }

  async #call(request: Prepared): Promise<Answer> {
    if (this.#isClosed) throw closedError();
    const deadlineMs = performance.now() + this.#timeoutMs;
    await this.#gate.enter(request.head.length);
    try {
      if (request.kind === 'write') return await this.#write(request, deadlineMs);
      const delivered = await this.#router.deliver(() => lineOf(request), deadlineMs);
      return settle(delivered, request.kind === 'change' ? 'change' : undefined);
    } finally {
      this.#gate.leave();
    }
  }

  /** One write, the same (session, seq) in every attempt: however many of them arrive, the store applies one. */
  async #write(request: Prepared, deadlineMs: number): Promise<Answer> {
    for (;;) {
      const opening = (this.#session ??= this.#openSession(deadlineMs));
      // oxlint-disable-next-line no-await-in-loop -- again only when the store has forgotten the session
      const session = await this.#unlessLate(opening, deadlineMs);
      if (session === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- as above
      const seq = await session.begin();
      let delivered: Delivered;
      try {
        // oxlint-disable-next-line no-await-in-loop -- as above
        delivered = await this.#router.deliver(() => lineOf(request, session.tag(seq)), deadlineMs);
      } finally {
        session.end(seq);
      }
      if (!isExpiry(delivered)) return settle(delivered, 'write');
      if (this.#session === opening) this.#session = undefined;
    }
  }

  /** The session; undefined when another write's time was too short to open it, and this one may try again. */
  async #unlessLate(opening: Promise<Session>, deadlineMs: number): Promise<Session | undefined> {
    try {
      return await opening;
    } catch (error) {
      const isShort = error instanceof OxideError && error.code === 'unavailable';
      if (isShort && !this.#isClosed && performance.now() < deadlineMs) return undefined;
      throw error;
    }
  }

  /** Opened within the time of the write that needs it first; a session opened twice by repetition does no harm. */
  async #openSession(deadlineMs: number): Promise<Session> {
    try {
      const answer = settle(await this.#router.deliver(() => lineOf(OPEN_SESSION), deadlineMs), undefined);
      return answer.kind === 'session' ? new Session(answer.id) : unexpected(answer);
    } catch (error) {
      this.#session = undefined;
      throw error;
    }
  }
}

/** The store has forgotten the session, and no earlier attempt can have been applied: the write may have another. */
function isExpiry(delivered: Delivered): boolean {
  if (delivered.kind !== 'answer' || delivered.doubtful) return false;
  return delivered.answer.kind === 'error' && delivered.answer.code === 'session_expired';
}

/** The answer of a request, or the error that tells whether it may have had an effect. `effect` undefined: it has none. */
function settle(delivered: Delivered, effect: 'write' | 'change' | undefined): Answer {
  if (delivered.kind === 'answer') {
    const { answer, doubtful } = delivered;
    if (answer.kind !== 'error') return answer;
    if (effect !== undefined && doubtful) {
      // This refusal is certain of its own attempt only.
      throw new OxideError('unknown', `The ${effect} may or may not have happened: ${answer.message}`);
    }
    throw new OxideError(answer.code, answer.message);
  }
  const { cause } = delivered;
  const reason = delivered.isClosed
    ? 'the client was closed'
    : `no answer in time${cause ? `: ${cause.message}` : ''}`;
  if (effect !== undefined && delivered.doubtful) {
    throw new OxideError('unknown', `The ${effect} may or may not have happened: ${reason}`, { cause });
  }
  if (delivered.isClosed) throw closedError();
  throw new OxideError('unavailable', `The request had no effect: ${reason}`, { cause });
}

function unexpected(answer: Answer): never {
  if (answer.kind === 'error') throw new OxideError(answer.code, answer.message);
  throw new OxideError(
    'unknown',
    `Cannot read answer: it is of kind "${answer.kind}", which was not asked for`,
  );
}

function closedError(): OxideError {
  return new OxideError('closed', 'The client was closed');
}

function checked(endpoint: string): string {
  if (parseEndpoint(endpoint) !== undefined) return endpoint;
  throw new OxideError('bad_request', `Cannot connect: "${endpoint}" is not an endpoint, expected HOST:PORT`);
}
