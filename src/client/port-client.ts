/**
 * The client inside the process of a cluster: requests go to nodes over MessagePorts, many in one frame. It knows
 * nothing of threads; the cluster hands it a port to every node and tells it who leads and who is gone.
 */
import { unreachable } from '../lib/assert.ts';
import { OxideError } from '../lib/errors.ts';
import { textOf, utf8 } from '../lib/bytes.ts';
import { type RequestItem, decodeReplies, encodeRequests } from '../net/codec.ts';
import { type FramePort, postFrame } from '../net/frame-port.ts';
import { limitExceeded } from '../net/limits.ts';
import type { NodeStatus, ReadRequest, Reply, Request, WriteRequest } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { MemberChange } from '../raft/membership.ts';
import { Session } from './session.ts';

/** Text (UTF-8) or bytes. */
type Data = string | Uint8Array;

/** Requests of one client without an answer; further ones are refused with `overloaded`. */
const PENDING_MAX = 65_536;
/** Before a refused request is sent again. */
const RETRY_MS = 15;
const SCAN_LIMIT = 1000;

type Write = Exclude<WriteRequest, { readonly kind: 'openSession' }>;

/** A write's place in its session. */
interface Place {
  readonly session: Session;
  readonly seq: number;
  attempts: number;
}

interface Pending {
  readonly id: number;
  readonly request: Request;
  /** A write's; a lost read is only asked again. */
  readonly place: Place | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: OxideError) => void;
  readonly deadlineMs: number;
  /** Where it was sent last; 0 while it waits. */
  node: NodeId;
  wasSent: boolean;
  /** Goes out with the next flush. */
  isQueued: boolean;
}

export class PortClient {
  readonly #timeoutMs: number;
  /** Always ask this node; 0: the leader. */
  readonly #fixed: NodeId;
  readonly #onClose: () => void;
  readonly #ports: Map<NodeId, FramePort> = new Map();
  readonly #pending: Map<number, Pending> = new Map();
  /** Requests to be sent with the next flush. */
  #unsent: Pending[] = [];
  #isFlushing = false;
  #leader: NodeId = 0;
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #nextId = 1;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: { readonly timeoutMs: number; readonly node: NodeId; readonly onClose: () => void }) {
    this.#timeoutMs = options.timeoutMs;
    this.#fixed = options.node;
    this.#onClose = options.onClose;
  }

  async set(key: Data, value: Data): Promise<number> {
    const reply = await this.#write({ kind: 'set', key: bytesOf(key), value: bytesOf(value) });
    return reply.kind === 'ok' ? reply.index : unexpected(reply);
  }

  async get(key: Data): Promise<Uint8Array | undefined> {
    const request: ReadRequest = { kind: 'get', key: bytesOf(key) };
    checkLimits(request);
    const reply = await this.#ask(request);
    return reply.kind === 'value' ? reply.value : unexpected(reply);
  }

  async getText(key: Data): Promise<string | undefined> {
    const value = await this.get(key);
    const text = value === undefined ? undefined : textOf(value);
    if (value !== undefined && text === undefined)
      throw new OxideError('bad_request', 'The value is not UTF-8 text');
    return text;
  }

  async delete(key: Data): Promise<boolean> {
    const reply = await this.#write({ kind: 'delete', key: bytesOf(key) });
    return reply.kind === 'ok' ? reply.existed === true : unexpected(reply);
  }

  async scan(
    prefix: Data,
    options: { readonly limit?: number } = {},
  ): Promise<readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]> {
    const limit = options.limit ?? SCAN_LIMIT;
    const request: ReadRequest = { kind: 'scan', prefix: bytesOf(prefix), limit };
    checkLimits(request);
    const reply = await this.#ask(request);
    return reply.kind === 'rows' ? reply.rows : unexpected(reply);
  }

  async cas(key: Data, expected: Data | undefined, value: Data): Promise<boolean> {
    const before = expected === undefined ? undefined : bytesOf(expected);
    const reply = await this.#write({
      kind: 'cas',
      key: bytesOf(key),
      expected: before,
      value: bytesOf(value),
    });
    if (reply.kind === 'mismatch') return false;
    return reply.kind === 'ok' ? true : unexpected(reply);
  }

  /** Carries an operation out, exactly once. @returns its position in the log, and the result, both in binary form */
  async operate(operation: Uint8Array): Promise<{ readonly index: number; readonly result: Uint8Array }> {
    const reply = await this.#write({ kind: 'operation', operation });
    return reply.kind === 'result' ? reply : unexpected(reply);
  }

  /** Asks the state machine; query and result in binary form. Linearizable. */
  async query(query: Uint8Array): Promise<Uint8Array> {
    const request: ReadRequest = { kind: 'query', query };
    checkLimits(request);
    const reply = await this.#ask(request);
    return reply.kind === 'result' ? reply.result : unexpected(reply);
  }

  /** Changes the members. Never asked twice: `unknown` when the node that was asked is gone. @returns its position in the log */
  async changeMembers(changes: readonly MemberChange[]): Promise<number> {
    const reply = await this.#ask({ kind: 'changeMembers', changes });
    return reply.kind === 'ok' ? reply.index : unexpected(reply);
  }

  /** Hands leadership over; `to` 0: to whoever is best prepared. Never asked twice. @returns who leads */
  async transferLeader(to: NodeId): Promise<NodeId> {
    const reply = await this.#ask({ kind: 'transferLeader', to });
    return reply.kind === 'leader' ? reply.leader : unexpected(reply);
  }

  /** Lets the node asked save a snapshot and drop the log behind it. @returns the last index that the snapshot holds */
  async compact(): Promise<number> {
    const reply = await this.#ask({ kind: 'compact' });
    return reply.kind === 'ok' ? reply.index : unexpected(reply);
  }

  /** The account of the node asked. */
  async status(): Promise<NodeStatus> {
    const reply = await this.#ask({ kind: 'status' });
    return reply.kind === 'status' ? reply.status : unexpected(reply);
  }

  /** Ends pending requests: `unknown` for a write that was sent, `closed` otherwise. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const pending of this.#pending.values()) {
      const isUnknown = hasEffect(pending) && pending.wasSent;
      const message = isUnknown ? 'Client was closed: the write may or may not happen' : 'Client was closed';
      pending.reject(new OxideError(isUnknown ? 'unknown' : 'closed', message));
    }
    this.#pending.clear();
    for (const port of this.#ports.values()) port.close();
    this.#ports.clear();
    this.#onClose();
  }

  /** Uses `port` for a node from now on. The port belongs to the client. */
  attach(node: NodeId, port: FramePort): void {
    this.#ports.get(node)?.close();
    if (this.#isClosed) return port.close();
    this.#ports.set(node, port);
    port.on('message', (frame) => {
      const items = frame instanceof Uint8Array ? decodeReplies(frame) : undefined;
      if (this.#ports.get(node) !== port || items === undefined) return;
      for (const { id, reply } of items) this.#answered(id, reply);
    });
    this.#resend((pending) => pending.node === 0 || pending.node === node);
  }

  /** A node is gone: what it was asked goes elsewhere. */
  detach(node: NodeId): void {
    this.#ports.get(node)?.close();
    this.#ports.delete(node);
    for (const pending of this.#pending.values()) {
      if (pending.node !== node || !isOnce(pending.request) || !pending.wasSent) continue;
      this.#pending.delete(pending.id);
      pending.reject(new OxideError('unknown', `Node ${node} is gone: the request may or may not happen`));
    }
    this.#resend((pending) => pending.node === node);
  }

  /** Who leads now; 0 for nobody. What another node holds is asked again of the new leader: it may be stuck there. */
  leaderChanged(leader: NodeId): void {
    if (leader === this.#leader) return;
    this.#leader = leader;
    if (leader !== 0 && this.#fixed === 0) this.#resend((pending) => pending.node !== leader);
  }

  async #write(request: Write): Promise<Reply> {
    checkLimits(request);
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- again only when the session was lost
      const session = this.#session ?? (await (this.#opening ??= this.#openSession()));
      // oxlint-disable-next-line no-await-in-loop -- as above
      const seq = session.hasRoom ? session.take() : await session.begin();
      const place: Place = { session, seq, attempts: 0 };
      try {
        // oxlint-disable-next-line no-await-in-loop -- as above
        return await this.#ask(request, place);
      } catch (error) {
        if (!(error instanceof OxideError) || error.code !== 'session_expired') throw error;
        if (this.#session === session) this.#session = undefined;
        if (place.attempts > 1) {
          throw new OxideError('unknown', 'Session was lost: an earlier attempt may have happened', {
            cause: error,
          });
        }
      } finally {
        session.end(seq);
      }
    }
  }

  async #openSession(): Promise<Session> {
    try {
      const reply = await this.#ask({ kind: 'openSession' });
      this.#session = reply.kind === 'session' ? new Session(reply.id) : unexpected(reply);
      return this.#session;
    } finally {
      this.#opening = undefined;
    }
  }

  #ask(request: Request, place?: Place): Promise<Reply> {
    if (this.#isClosed) return Promise.reject(new OxideError('closed', 'Client was closed'));
    if (this.#pending.size >= PENDING_MAX) {
      return Promise.reject(
        new OxideError('overloaded', `Client has ${PENDING_MAX} requests without an answer`),
      );
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const deadlineMs = performance.now() + this.#timeoutMs;
      const pending: Pending = {
        id,
        request,
        place,
        resolve,
        reject,
        deadlineMs,
        node: 0,
        wasSent: false,
        isQueued: false,
      };
      this.#pending.set(id, pending);
      this.#enqueue(pending);
      this.#timer ??= setInterval(() => this.#tick(), RETRY_MS).unref();
    });
  }

  #enqueue(pending: Pending): void {
    if (pending.isQueued) return;
    pending.isQueued = true;
    this.#unsent.push(pending);
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    // Everything that is asked in this round of the event loop goes out in one frame.
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushing = false;
    const unsent = this.#unsent;
    this.#unsent = [];
    const target = this.#target();
    const port = this.#ports.get(target);
    const items: RequestItem[] = [];
    for (const pending of unsent) {
      pending.isQueued = false;
      if (!this.#pending.has(pending.id)) continue;
      pending.node = port === undefined ? 0 : target;
      if (port === undefined) continue;
      pending.wasSent = true;
      items.push({ id: pending.id, request: tagged(pending) });
    }
    if (port !== undefined && items.length > 0) postFrame(port, encodeRequests(items));
  }

  #target(): NodeId {
    if (this.#fixed !== 0) return this.#fixed;
    if (this.#ports.has(this.#leader)) return this.#leader;
    const [first] = this.#ports.keys();
    return first ?? 0;
  }

  #answered(id: number, reply: Reply): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (reply.kind === 'error') {
      // Reads and writes of a session may be asked again without harm.
      const mayRetry =
        ['not_leader', 'unavailable', 'overloaded', 'storage_failed', 'storage_full'].includes(reply.code) ||
        (reply.code === 'unknown' && !isOnce(pending.request));
      if (mayRetry && performance.now() < pending.deadlineMs) {
        pending.node = 0;
        pending.wasSent &&= !isOnce(pending.request);
        return;
      }
      this.#pending.delete(id);
      // A refusal is certain of its own attempt only.
      const isDoubtful = (pending.place?.attempts ?? 0) > 1 && reply.code !== 'session_expired';
      return pending.reject(
        isDoubtful
          ? new OxideError('unknown', `An earlier attempt may have happened: ${reply.message}`)
          : new OxideError(reply.code, reply.message),
      );
    }
    this.#pending.delete(id);
    pending.resolve(reply);
  }

  #resend(isConcerned: (pending: Pending) => boolean): void {
    for (const pending of this.#pending.values())
      if (isConcerned(pending) && !(isOnce(pending.request) && pending.wasSent)) this.#enqueue(pending);
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const pending of this.#pending.values()) {
      if (pending.deadlineMs > nowMs) break;
      this.#pending.delete(pending.id);
      const isUnknown = hasEffect(pending) && pending.wasSent;
      const message = isUnknown
        ? 'No answer in time: the write may or may not have happened'
        : 'No node answered in time';
      pending.reject(new OxideError(isUnknown ? 'unknown' : 'unavailable', message));
    }
    if (this.#pending.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else this.#resend((pending) => pending.node === 0);
  }
}

/** The request as it goes out now: a write tells, each time anew, which answers its client has. */
function tagged({ request, place }: Pending): Request {
  if (place === undefined) return request;
  place.attempts += 1;
  const session = place.session.tag(place.seq);
  switch (request.kind) {
    case 'set':
      return { kind: 'set', key: request.key, value: request.value, session };
    case 'delete':
      return { kind: 'delete', key: request.key, session };
    case 'cas':
      return { kind: 'cas', key: request.key, expected: request.expected, value: request.value, session };
    case 'operation':
      return { kind: 'operation', operation: request.operation, session };
    case 'get':
    case 'scan':
    case 'query':
    case 'openSession':
    case 'changeMembers':
    case 'transferLeader':
    case 'compact':
    case 'status':
      return request;
    default:
      return unreachable(request);
  }
}

/** Asked a second time, it would be refused for what the first attempt has done, or do something else. */
function isOnce(request: Request): boolean {
  return request.kind === 'changeMembers' || request.kind === 'transferLeader';
}

/** Whether it may have changed something, if it was sent. */
function hasEffect({ request, place }: Pending): boolean {
  return place !== undefined || isOnce(request);
}

/** @throws OxideError `too_large`: a node would not even read it, nor anything else in the same frame */
function checkLimits(request: ReadRequest | WriteRequest): void {
  const tooLarge = limitExceeded(request);
  if (tooLarge !== undefined) throw new OxideError('too_large', tooLarge);
}

function bytesOf(data: Data): Uint8Array {
  if (typeof data !== 'string') return data;
  if (!data.isWellFormed())
    throw new OxideError('bad_request', 'Text holds a lone surrogate, which has no UTF-8 form');
  return utf8(data);
}

function unexpected(reply: Reply): never {
  throw new OxideError('bad_request', `Node answered with ${reply.kind}`);
}
