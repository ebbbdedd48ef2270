/** Rolling hashes of logs that are cut, compacted and replaced by snapshots. */
import { expect, test } from 'vitest';
import { LogHashes } from '../../src/sim/log-hashes.ts';
import type { Sight } from '../../src/sim/host.ts';
import { FakeNode } from './fake-node.ts';

/** What a node shows whose log begins behind `base` and got these entries, each named by its term and checksum. */
function sight(
  base: Sight['base'],
  entries: readonly (readonly [term: number, crc: number])[],
  cutAfter?: number,
): Sight {
  const { raft, storage, snapshotIndex, stateHash } = new FakeNode(1).show();
  const first = (cutAfter ?? base.index) + 1;
  const appended = entries.map(([term, crc], i) => ({ index: first + i, term, crc }));
  return { raft, storage, base, cutAfter, appended, snapshotIndex, stateHash };
}

const EMPTY = { index: 0, term: 0 };

test('equal logs have equal hashes, and different ones have different hashes from there on', () => {
  const hashes = new LogHashes();
  const a = hashes.observe(
    1,
    sight(EMPTY, [
      [1, 5],
      [1, 6],
      [1, 7],
    ]),
    [],
  );
  const b = hashes.observe(
    2,
    sight(EMPTY, [
      [1, 5],
      [1, 6],
      [1, 7],
    ]),
    [],
  );
  const c = hashes.observe(
    3,
    sight(EMPTY, [
      [1, 5],
      [1, 9],
      [1, 7],
    ]),
    [],
  );
  expect(b?.appended).toEqual(a?.appended);
  expect(c?.appended[0]).toEqual(a?.appended[0]);
  expect(c?.appended[2]?.hash).not.toBe(a?.appended[2]?.hash);
});

test('a snapshot that contradicts the log brings the hash of the log that it stands for', () => {
  const hashes = new LogHashes();
  const leader = hashes.observe(
    1,
    sight(EMPTY, [
      [2, 5],
      [2, 6],
      [2, 7],
    ]),
    [],
  );
  hashes.observe(
    2,
    sight(EMPTY, [
      [1, 5],
      [1, 6],
      [1, 7],
      [1, 8],
    ]),
    [],
  );
  const follower = hashes.observe(2, sight({ index: 2, term: 2 }, [], 2), []);
  expect(follower?.base).toEqual({ index: 2, hash: leader?.appended[1]?.hash });
  const after = hashes.observe(2, sight({ index: 2, term: 2 }, [[2, 7]]), []);
  expect(after?.appended).toEqual(leader?.appended.slice(2));
});

test('a log that begins behind a place which no log ever had has no hash', () => {
  expect(new LogHashes().observe(1, sight({ index: 4, term: 2 }, []), [])).toBeUndefined();
});
