/** Scenarios of a whole node, alone in its cluster: log, state machine and checkpoints together. Its contents are its rows. */
import { latin1, utf8 } from '../../src/lib/bytes.ts';
import { OxideError } from '../../src/lib/errors.ts';
import type { Reply, Request } from '../../src/net/protocol.ts';
import type { NodeEnv } from '../../src/node/env.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { LsmStore } from '../../src/storage/lsm/lsm-store.ts';
import { MemoryStore } from '../../src/storage/memory-store.ts';
import { Solo } from '../node/solo.ts';
import { TINY } from './checkpoint-scenarios.ts';
import { type Scenario, type Story, Violation } from './story.ts';

const SNAPSHOT_ENTRIES = 5;
const SEGMENT_BYTES = 400;
const TURNS_MAX = 200;
/** Longer than any timer of an election. */
const PATIENCE_MS = 10_000;
/** Checkpoints or tables, what removals leave that no sync has covered, and the segments that a restart adds to. */
const FILES_MAX = 20;

/** What keeps the data of a node. */
interface Kind {
  readonly name: string;
  readonly openStore: NodeEnv['openStore'];
  /** Where checkpoints lie. */
  readonly directory: string;
  /** Segments and checkpoints have the sizes that they have in life. */
  readonly isLarge?: boolean;
}

const MEMORY: Kind = {
  name: 'node in memory',
  openStore: (fs, path) => new MemoryStore({ fs, directory: `${path}/snapshots` }),
  directory: 'data/snapshots',
};

const TREE: Kind = {
  name: 'node with a tree',
  openStore: (fs, path) =>
    new LsmStore({ fs, directory: `${path}/lsm`, options: TINY, manifestEditBytesMax: 1500 }),
  directory: 'data/lsm',
};

/** A node and its clients. */
class Alone {
  readonly #solo: Solo;

  constructor(kind: Kind, fs: FileSystem) {
    this.#solo = new Solo({
      through: fs,
      openStore: kind.openStore,
      voters: [1],
      ...(kind.isLarge !== true && {
        snapshotEntries: SNAPSHOT_ENTRIES,
        segmentBytesMax: SEGMENT_BYTES,
      }),
    });
  }

  /** Asks several things at once. @returns what was answered, in order */
  ask(requests: readonly Request[]): readonly Reply[] {
    const replies = requests.map((request) => this.#solo.ask(request));
    for (let turns = 0; replies.some(({ length }) => length === 0); turns++) {
      if (turns > TURNS_MAX) throw new Violation('a request has no answer');
      this.#solo.turn(turns === 0 ? 1 : PATIENCE_MS / TURNS_MAX);
    }
    return replies.flat();
  }

  /** Leads, as it does after a while when it is alone. */
  lead(): void {
    for (let turns = 0; this.#solo.node.status().raft.role !== 'leader'; turns++) {
      if (this.#solo.node.status().storage !== 'ok') throw new OxideError('storage_failed', 'It never leads');
      if (turns > TURNS_MAX) throw new Violation('a lone node never leads');
      this.#solo.turn(PATIENCE_MS / 10);
    }
  }

  /** All rows in one line. */
  rows(): string {
    return shown(this.scan());
  }

  scan(): ReadonlyMap<string, string> {
    const [reply] = this.ask([{ kind: 'scan', prefix: new Uint8Array(0), limit: 1000 }]);
    if (reply?.kind === 'error') throw new OxideError(reply.code, reply.message);
    if (reply?.kind !== 'rows') throw new Violation(`a scan is answered with ${reply?.kind}`);
    return new Map(reply.rows.map(({ key, value }) => [latin1(key), latin1(value)]));
  }

  stop(): void {
    this.#solo.node.stop();
  }
}

function shown(rows: Iterable<readonly [string, string]>): string {
  return Array.from(rows, ([key, value]) => `${key}=${value.slice(0, 12)}+${value.length}`)
    .toSorted()
    .join(' ');
}

function recoverWith(kind: Kind): (fs: FileSystem) => string {
  return (fs) => {
    const node = new Alone(kind, fs);
    try {
      node.lead();
      const found = node.rows();
      const files = [...fs.list('data/wal'), ...fs.list(kind.directory)];
      if (files.length > FILES_MAX) throw new Violation(`files pile up: ${files.join(' ')}`);
      return found;
    } finally {
      node.stop();
    }
  };
}

/** A client that remembers what it was told. */
class Client {
  readonly #node: Alone;
  readonly #story: Story;
  readonly #rows: Map<string, string>;

  constructor(node: Alone, story: Story) {
    this.#node = node;
    this.#story = story;
    this.#rows = new Map(node.scan());
  }

  /** Writes some at once, and reads all rows. Throws what the first refusal says. */
  put(...pairs: readonly (readonly [string, string])[]): void {
    for (const [key, value] of pairs) {
      this.#rows.set(key, value);
      this.#story.offer(shown(this.#rows));
    }
    const replies = this.#node.ask(
      pairs.map(([key, value]) => ({ kind: 'set', key: utf8(key), value: utf8(value) })),
    );
    for (const reply of replies) {
      if (reply.kind === 'ok') continue;
      if (reply.kind !== 'error') throw new Violation(`a write is answered with ${reply.kind}`);
      // Every code but this one says that nothing happened.
      if (pairs.length === 1 && reply.code !== 'unknown') this.#story.withdraw();
      throw new OxideError(reply.code, reply.message);
    }
    this.#story.settle();
    const found = this.#node.rows();
    if (found !== shown(this.#rows))
      throw new Violation(`a read finds ${found}, expected ${shown(this.#rows)}`);
  }
}

/** Rows that are there at the beginning. */
const BEFORE: ReadonlyMap<string, string> = new Map([
  ['a', 'before'],
  ['b', 'before'],
]);

/** A node that has served: some rows, written so often that there are checkpoints. None without rounds. */
function prepare(kind: Kind, fs: CrashFileSystem, rounds: number): void {
  fs.makeDirectory('data/wal');
  fs.makeDirectory('data/snapshots');
  if (rounds === 0) return;
  const node = new Alone(kind, fs);
  node.lead();
  for (let round = 0; round < rounds; round++)
    for (const [key, value] of BEFORE)
      node.ask([{ kind: 'set', key: utf8(key), value: utf8(round === rounds - 1 ? value : 'older') }]);
  node.stop();
}

function scenario(kind: Kind, name: string, rounds: number, tell: (client: Client) => void): Scenario {
  return {
    name: `${kind.name}: ${name}`,
    setUp: (fs) => prepare(kind, fs, rounds),
    recover: recoverWith(kind),
    isProcess: true,
    run: (fs, story) => {
      const node = new Alone(kind, fs);
      try {
        node.lead();
        tell(new Client(node, story));
      } finally {
        node.stop();
      }
    },
  };
}

function scenariosOf(kind: Kind): readonly Scenario[] {
  return [
    scenario(kind, 'first start and first writes', 0, (client) => {
      client.put(['a', '1']);
      client.put(['b', '2'], ['a', '3'.padEnd(600, '3')], ['c', '4']);
    }),
    scenario(kind, 'writes one by one', 1, (client) => {
      for (let i = 0; i < 4; i++) client.put([`k${i % 3}`, `${i}`.padEnd(i * 90, '.')]);
    }),
    scenario(kind, 'checkpoints and segments that go', 4, (client) => {
      for (let i = 0; i < 14; i++) client.put([`k${i % 3}`, `${i}`.padEnd(i * 13, '.')]);
    }),
  ];
}

/** A node whose log is one segment of about `bytes`, and what it held after each of its writes, from the first to the last. */
export function exampleNode(bytes: number): {
  readonly fs: CrashFileSystem;
  readonly path: string;
  readonly recover: (fs: FileSystem) => string;
  readonly contents: readonly string[];
} {
  const fs = new CrashFileSystem();
  prepare(MEMORY, fs, 0);
  const kind = { ...MEMORY, isLarge: true };
  const node = new Alone(kind, fs);
  node.lead();
  const contents = [node.rows()];
  const path = 'data/wal/000001.wal';
  for (let i = 0; fs.peek(path).length < bytes; i++) {
    node.ask([{ kind: 'set', key: utf8(`k${i}`), value: utf8('v'.repeat(50)) }]);
    contents.push(node.rows());
  }
  node.stop();
  return { fs, path, recover: recoverWith(kind), contents };
}

export const NODE_SCENARIOS: readonly Scenario[] = [...scenariosOf(MEMORY), ...scenariosOf(TREE)];
