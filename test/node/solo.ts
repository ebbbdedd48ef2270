/** One node whose peers are played by the test: what they say goes in turn by turn, what the node says is kept. */
import { crc32 } from '../../src/lib/crc32.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Envelope, Reply, Request } from '../../src/net/protocol.ts';
import type { NodeEnv } from '../../src/node/env.ts';
import { Node } from '../../src/node/node.ts';
import { type Entry, makeEntry } from '../../src/raft/entry.ts';
import type { LogPosition, Message } from '../../src/raft/messages.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';

const DIRECTORY = 'data';

/** Node 1 of several. */
export class Solo {
  readonly fs: CrashFileSystem;
  readonly node: Node;
  nowMs = 0;
  isAwake = false;
  #sent: { readonly to: number; readonly envelope: Envelope }[] = [];

  constructor(
    options: {
      readonly fs?: CrashFileSystem;
      /** What the node sees in place of `fs`. */
      readonly through?: FileSystem;
      /** By default in memory. */
      readonly openStore?: NodeEnv['openStore'];
      readonly segmentBytesMax?: number;
      readonly snapshotEntries?: number;
      readonly incarnation?: string;
      readonly seed?: number;
      /** By default 1, 2 and 3. */
      readonly voters?: readonly number[];
    } = {},
  ) {
    this.fs = options.fs ?? newDisk();
    this.node = new Node(
      {
        fs: options.through ?? this.fs,
        transport: {
          send: (to, envelopes) => {
            for (const envelope of envelopes) this.#sent.push({ to, envelope });
          },
        },
        openStore:
          options.openStore ??
          ((disk, path) => new MemoryStore({ fs: disk, directory: `${path}/snapshots` })),
        random: new Random(options.seed ?? 1),
        wake: () => {
          this.isAwake = true;
        },
        nowMs: () => this.nowMs,
        beforeSync: () => undefined,
      },
      {
        id: 1,
        voters: options.voters ?? [1, 2, 3],
        cluster: 'test',
        incarnation: options.incarnation ?? 'one',
        directory: DIRECTORY,
        requestTimeoutMs: 1000,
        snapshotEntries: options.snapshotEntries ?? 100_000,
        ...(options.segmentBytesMax !== undefined && { segmentBytesMax: options.segmentBytesMax }),
      },
      0,
    );
  }

  /** Takes what peers say to the inbox. */
  hear(from: number, ...envelopes: readonly Envelope[]): void {
    this.node.receive(from, envelopes);
  }

  /** Takes Raft messages of a peer to the inbox. */
  hearRaft(from: number, ...messages: readonly MessageBody[]): void {
    this.hear(
      from,
      ...messages.map((body): Envelope => ({ kind: 'raft', message: { ...body, from, to: 1 } })),
    );
  }

  /** Takes turns while the node asks for them. @returns what it said to others since the last call */
  turn(afterMs = 1): readonly { readonly to: number; readonly envelope: Envelope }[] {
    this.nowMs += afterMs;
    do {
      this.isAwake = false;
      this.node.turn(this.nowMs);
    } while (this.isAwake);
    const sent = this.#sent;
    this.#sent = [];
    return sent;
  }

  /** Exchanges hellos with both peers. */
  greet(): this {
    for (const from of [2, 3]) this.hear(from, helloOf(from));
    this.turn();
    return this;
  }

  /** Becomes leader of the next term, with the vote of node 2. @returns its term */
  lead(): number {
    this.turn(10_000);
    const { term } = this.node.status().raft;
    this.hearRaft(2, { kind: 'voteReply', pre: true, granted: true, term: term + 1 });
    this.turn();
    this.hearRaft(2, { kind: 'voteReply', pre: false, granted: true, term: term + 1 });
    this.turn();
    return term + 1;
  }

  /** Submits a request. @returns its replies: one, if all is well */
  ask(request: Request, forward = true): readonly Reply[] {
    const replies: Reply[] = [];
    this.node.submit(request, { forward }, (reply) => replies.push(reply));
    return replies;
  }
}

export type MessageBody = Message extends infer M
  ? M extends Message
    ? Omit<M, 'from' | 'to'>
    : never
  : never;

export function newDisk(): CrashFileSystem {
  const fs = new CrashFileSystem();
  fs.makeDirectory(`${DIRECTORY}/wal`);
  fs.makeDirectory(`${DIRECTORY}/snapshots`);
  return fs;
}

export function helloOf(
  from: number,
  incarnation = `n${from}`,
): Extract<Envelope, { readonly kind: 'hello' }> {
  return {
    kind: 'hello',
    cluster: 'test',
    founders: [1, 2, 3],
    incarnation,
    since: 0,
    client: '',
    greeted: true,
    settled: true,
  };
}

/** Entries that each set `k<index>`. */
export function setEntries(term: number, from: number, to: number): readonly Entry[] {
  return Array.from({ length: to - from + 1 }, (_, i) =>
    makeEntry({
      term,
      index: from + i,
      kind: 'command',
      payload: encodeCommand({ kind: 'set', key: `k${from + i}`, value: utf8('v') }),
    }),
  );
}

/** A whole snapshot of an empty store in one part. */
export function snapshotPart(
  term: number,
  position: LogPosition,
): Extract<Envelope, { readonly kind: 'snapshotPart' }> {
  const fs = newDisk();
  const store = new MemoryStore({ fs, directory: `${DIRECTORY}/snapshots` });
  const writer = store.begin({ index: position.index, term: position.term }, []);
  while (!writer.advance());
  const bytes = fs.peek(`${DIRECTORY}/snapshots/${fs.list(`${DIRECTORY}/snapshots`).at(-1) ?? ''}`);
  const sum = crc32(bytes);
  return {
    kind: 'snapshotPart',
    term,
    transfer: 1,
    position,
    engine: 'memory',
    totalBytes: bytes.length,
    crc32: sum,
    offset: 0,
    partCrc32: sum,
    bytes,
  };
}
