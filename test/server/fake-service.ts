/** A node in memory behind the {@link NodeService} port: one Map, and replies that a test may hold back. */
import { bootstrapConfig } from '../../src/raft/membership.ts';
import { unreachable } from '../../src/lib/assert.ts';
import { equalBytes, fromLatin1, latin1 } from '../../src/lib/bytes.ts';
import type {
  NodeService,
  NodeStatus,
  Reply,
  Request,
  SessionTag,
  SubmitOptions,
} from '../../src/net/protocol.ts';

export const STATUS: NodeStatus = {
  raft: {
    id: 1,
    role: 'preCandidate',
    term: 3,
    vote: 1,
    leader: 2,
    commit: 9,
    applied: 8,
    first: 1,
    last: { index: 10, term: 3 },
    durable: 9,
    deadlineMs: Number.POSITIVE_INFINITY,
    peers: [{ id: 2, mode: 'replicate', match: 9, next: 10 }],
    votes: [1, 2],
    config: bootstrapConfig([1, 2, 3]),
    configIndex: 0,
    transferTo: 0,
    leaseUntilMs: 0,
    isQuiesced: false,
  },
  members: [
    { id: 1, standing: 'voter', address: '127.0.0.1:8001', client: '127.0.0.1:9001' },
    { id: 2, standing: 'voter', address: '127.0.0.1:8002', client: '127.0.0.1:9002' },
    { id: 3, standing: 'voter', address: '127.0.0.1:8003', client: '' },
  ],
  leader: { id: 2, client: '127.0.0.1:9002' },
  client: '127.0.0.1:9001',
  keys: 4,
  dataBytes: 42,
  walBytes: 100,
  snapshotIndex: 5,
  storage: 'ok',
  revision: 7,
  compactedRevision: 2,
  engine: { kind: 'memory', versions: 5, bytes: 50 },
};

type Answer = (reply: Reply) => void;

/**
 * Applies requests at once and answers at once, unless told otherwise. Sessions are exactly once: a repeated
 * (id, seq) gets its first answer.
 */
export class FakeService implements NodeService {
  /** Keys as latin-1 strings. */
  readonly data = new Map<string, Uint8Array>();
  /** Every request that came, in order. */
  readonly requests: Request[] = [];
  readonly options: SubmitOptions[] = [];
  /** Number of writes applied: a retry that was recognized does not count. */
  writes = 0;
  sessionsOpened = 0;
  /** Decides when an answer goes out. Default: at once, before `submit` returns. */
  deliver: (send: () => void, request: Request) => void = (send) => send();
  /** Answers instead of the store when it returns a reply. */
  intercept: (request: Request) => Reply | undefined = () => undefined;
  readonly #answers = new Map<number, Map<number, Reply>>();
  #index = 0;

  submit(request: Request, options: SubmitOptions, done: Answer): void {
    this.requests.push(request);
    this.options.push(options);
    const reply = this.intercept(request) ?? this.#apply(request);
    this.deliver(() => done(reply), request);
  }

  /** Forgets every session, as a full session table would. */
  expireSessions(): void {
    this.#answers.clear();
  }

  #apply(request: Request): Reply {
    switch (request.kind) {
      case 'get':
        return { kind: 'value', value: this.data.get(latin1(request.key)) };
      case 'scan':
        return this.#scan(latin1(request.prefix), request.limit);
      case 'status':
        return { kind: 'status', status: STATUS };
      case 'openSession':
        this.sessionsOpened += 1;
        this.#index += 1;
        this.#answers.set(this.#index, new Map());
        return { kind: 'session', id: this.#index };
      case 'changeMembers':
      case 'compact':
        this.#index += 1;
        return { kind: 'ok', index: this.#index };
      case 'transferLeader':
        return { kind: 'leader', leader: request.to === 0 ? 3 : request.to };
      case 'set':
      case 'delete':
      case 'cas':
        return this.#once(request.session, () => this.#write(request));
      case 'operation':
      case 'query':
        return { kind: 'error', code: 'bad_request', message: 'It knows no operations' };
      default:
        return unreachable(request);
    }
  }

  #once(session: SessionTag | undefined, write: () => Reply): Reply {
    if (session === undefined) return write();
    const answers = this.#answers.get(session.id);
    if (answers === undefined) return { kind: 'error', code: 'session_expired', message: 'no such session' };
    const earlier = answers.get(session.seq);
    if (earlier !== undefined) return earlier;
    const reply = write();
    for (const seq of answers.keys()) if (seq < session.ackedBelow) answers.delete(seq);
    answers.set(session.seq, reply);
    return reply;
  }

  #write(request: Request & { readonly kind: 'set' | 'delete' | 'cas' }): Reply {
    this.writes += 1;
    this.#index += 1;
    const key = latin1(request.key);
    if (request.kind === 'delete') return { kind: 'ok', index: this.#index, existed: this.data.delete(key) };
    if (request.kind === 'cas') {
      const actual = this.data.get(key);
      const same =
        actual === undefined || request.expected === undefined
          ? actual === request.expected
          : equalBytes(actual, request.expected);
      if (!same) return { kind: 'mismatch', index: this.#index, actual };
    }
    this.data.set(key, request.value);
    return { kind: 'ok', index: this.#index };
  }

  #scan(prefix: string, limit: number): Reply {
    const keys = [...this.data.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    const rows = keys.slice(0, limit).map((key) => ({
      key: fromLatin1(key),
      value: this.data.get(key) ?? new Uint8Array(0),
    }));
    return { kind: 'rows', rows, more: keys.length > limit };
  }
}
