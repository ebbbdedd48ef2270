/** Rolling hashes of logs: equal for equal prefixes, also behind a snapshot that a peer sent. */
import { describe, expect, test } from 'vitest';
import { defined } from '../../src/lib/assert.ts';
import { bootstrapConfig } from '../../src/raft/membership.ts';
import type { RaftStatus } from '../../src/raft/messages.ts';
import type { Observation, Sight } from '../../src/sim/host.ts';
import { LogHashes } from '../../src/sim/log-hashes.ts';

const STATUS: RaftStatus = {
  id: 1,
  role: 'follower',
  term: 1,
  vote: 0,
  leader: 0,
  commit: 0,
  applied: 0,
  first: 1,
  last: { index: 0, term: 0 },
  durable: 0,
  deadlineMs: 0,
  peers: [],
  votes: [],
  config: bootstrapConfig([1]),
  configIndex: 0,
  transferTo: 0,
  leaseUntilMs: 0,
  isQuiesced: false,
};

/** A sight of a log. Entries are `term.crc`, the first behind the cut. */
function sight(
  at: { readonly base?: readonly [number, number]; readonly cutAfter?: number },
  ...entries: string[]
): Sight {
  const [baseIndex, baseTerm] = at.base ?? [0, 0];
  return {
    raft: STATUS,
    storage: 'ok',
    isAbstaining: false,
    base: { index: baseIndex, term: baseTerm },
    cutAfter: at.cutAfter,
    appended: entries.map((entry) => {
      const [index = 0, term = 0, crc = 0] = entry.split('.').map(Number);
      return { index, term, crc };
    }),
    snapshotIndex: 0,
    stateHash: '',
  };
}

function observe(hashes: LogHashes, node: number, seen: Sight): Observation {
  return defined(hashes.observe(node, seen, []), 'observation');
}

function lastHash({ appended }: Observation): number | undefined {
  return appended.at(-1)?.hash;
}

describe('LogHashes.observe()', () => {
  test('gives equal logs equal hashes, and unequal ones others', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7', '2.1.8', '3.2.9'));
    const first = observe(hashes, 2, sight({}, '1.1.7', '2.1.8'));
    const second = observe(hashes, 2, sight({}, '3.2.9'));
    const other = observe(hashes, 3, sight({}, '1.1.6', '2.1.8', '3.2.9'));
    expect(lastHash(second)).toBe(lastHash(one));
    expect(lastHash(first)).toBe(one.appended[1]?.hash);
    expect(lastHash(other)).not.toBe(lastHash(one));
  });

  test('tells entries apart by their terms', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7'));
    const other = observe(hashes, 2, sight({}, '1.2.7'));
    expect(lastHash(other)).not.toBe(lastHash(one));
  });

  test('goes on behind a cut', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7', '2.2.5'));
    observe(hashes, 2, sight({}, '1.1.7', '2.1.8', '3.1.9'));
    const cut = observe(hashes, 2, sight({ cutAfter: 1 }, '2.2.5'));
    expect(lastHash(cut)).toBe(lastHash(one));
  });

  test('goes on behind a snapshot of a peer', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7', '2.1.8', '3.1.9'));
    const behind = observe(hashes, 2, sight({ base: [2, 1] }, '3.1.9'));
    expect(behind.base).toEqual({ index: 2, hash: one.appended[1]?.hash });
    expect(lastHash(behind)).toBe(lastHash(one));
  });

  test('takes the hash of the snapshot where the own log had another entry at its end', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7', '2.3.8', '3.3.9'));
    observe(hashes, 2, sight({}, '1.1.7', '2.2.5'));
    const installed = observe(hashes, 2, sight({ base: [2, 3] }, '3.3.9'));
    expect(installed.base.hash).toBe(one.appended[1]?.hash);
    expect(lastHash(installed)).toBe(lastHash(one));
  });

  test('starts over with a new life', () => {
    const hashes = new LogHashes();
    const one = observe(hashes, 1, sight({}, '1.1.7', '2.1.8'));
    hashes.restarted(1);
    expect(lastHash(observe(hashes, 1, sight({ base: [1, 1] }, '2.1.8')))).toBe(lastHash(one));
  });

  test('knows no log that begins behind a position which no log ever had', () => {
    expect(new LogHashes().observe(1, sight({ base: [5, 2] }), [])).toBeUndefined();
  });
});
