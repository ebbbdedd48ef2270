/** Snapshots arrive whole and as they were sent, whatever the link does to their parts, and no transfer is left without an end. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../src/lib/crc32.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { LIMITS } from '../../src/net/protocol.ts';
import { SnapshotReceiver } from '../../src/node/snapshot-receiver.ts';
import { NodeFileSystem } from '../../src/storage/fs.ts';
import { INCOMING_WINDOW_BYTES } from '../../src/storage/arrival-window.ts';
import { SNAPSHOT_SLICE_BYTES } from '../../src/storage/snapshot-file.ts';
import { SnapshotStore } from '../../src/storage/snapshot-store.ts';
import { type Fate, GOOD, POSITION, type Part, TransferRig } from './transfer-rig.ts';

const SLICE = SNAPSHOT_SLICE_BYTES;
const MIB = 1024 * 1024;
/** What a receiver grants, in parts. */
const WINDOW_PARTS = INCOMING_WINDOW_BYTES / SLICE;
const LOST: Fate = { delaysMs: [] };
const FAULTS: readonly Fate[] = [
  LOST,
  { delaysMs: [1, 2] },
  { delaysMs: [1], isDamaged: true },
  { delaysMs: [7] },
];

/** The parts that a transfer over a good link consists of; the first is the offer. */
function partsOf(rig: TransferRig): readonly Part[] {
  const parts: Part[] = [];
  rig.fate = (_number, envelope) => {
    if (envelope.kind === 'snapshotPart') parts.push(envelope);
    return GOOD;
  };
  rig.start().run();
  return parts;
}

describe('a snapshot on its way', () => {
  test('over a good link is offered, sent once, and installed', () => {
    const rig = new TransferRig(20 * SLICE).start();
    expect(rig.run()).toMatchObject({ ok: true, peer: 2 });
    expect(rig.isSame).toBe(true);
    expect(rig.sentParts).toBe(Math.ceil(rig.bytes.length / SLICE));
    expect(rig.fs.list('snapshots')).toEqual(rig.ownFs.list('snapshots'));
  });

  test('survives any one fault of any one envelope, at the cost of one part', () => {
    const length = 5 * SLICE;
    for (const fault of FAULTS) {
      for (let at = 0; at < 20; at++) {
        const rig = new TransferRig(length).start();
        rig.fate = (number) => (number === at ? fault : GOOD);
        const end = rig.run();
        if (end?.ok !== true || !rig.isSame) expect.fail(`envelope ${at}: ${JSON.stringify(fault)}`);
        // A late part is taken for lost once.
        expect(rig.sentParts).toBeLessThanOrEqual(Math.ceil(rig.bytes.length / SLICE) + 1);
        expect(rig.nowMs, `envelope ${at}: ${JSON.stringify(fault)}`).toBeLessThan(300);
      }
    }
  });

  test('survives any two faults of the first ten envelopes', () => {
    for (const first of FAULTS) {
      for (const second of FAULTS) {
        for (let i = 0; i < 10; i++) {
          for (let k = i + 1; k < 10; k += 2) {
            const rig = new TransferRig(1.5 * SLICE).start();
            rig.fate = (number) => (number === i ? first : number === k ? second : GOOD);
            if (rig.run()?.ok !== true || !rig.isSame) expect.fail(`envelopes ${i} and ${k}`);
          }
        }
      }
    }
  });

  test.each(Array.from({ length: 30 }, (_, seed) => seed))(
    'survives losses, doubles, delays, damage and restarts of both sides: seed %i',
    (seed) => {
      const random = new Random(`transfer ${seed}`);
      const rig = new TransferRig(random.int(1, 40) * 100_000).start();
      const loss = random.ratio() * 0.3;
      const delayMsMax = random.chance(0.5) ? 3 : 60;
      rig.fate = () => {
        if (random.chance(loss)) return LOST;
        const count = random.chance(0.1) ? 2 : 1;
        const delaysMs = Array.from({ length: count }, () => random.int(1, delayMsMax));
        return { delaysMs, isDamaged: random.chance(0.05) };
      };
      for (let i = 0; i < 100_000 && rig.ended.length === 0; i++) {
        rig.step();
        if (random.chance(0.003)) rig.restartReceiver();
        if (random.chance(0.003)) rig.restartSender();
      }
      expect(rig.ended).toMatchObject([{ ok: true }]);
      expect(rig.isSame).toBe(true);
    },
  );

  test('costs about what is lost: at 10 % loss under a quarter more parts', () => {
    const random = new Random('loss');
    const rig = new TransferRig(8 * MIB).start();
    rig.fate = () => (random.chance(0.1) ? LOST : GOOD);
    expect(rig.run()?.ok).toBe(true);
    expect(rig.sentParts).toBeLessThan((rig.bytes.length / SLICE) * 1.25);
  });
});

describe('SnapshotSender', () => {
  test('never has more on its way than the receiver has granted', () => {
    const rig = new TransferRig(48 * MIB).start();
    const onWay = new Map<number, number>();
    let most = 0;
    rig.fate = (_number, envelope) => {
      if (envelope.kind === 'snapshotPart') onWay.set(envelope.offset, envelope.bytes.length);
      if (envelope.kind === 'snapshotAck') onWay.delete(envelope.partOffset);
      most = Math.max(
        most,
        [...onWay.values()].reduce((a, b) => a + b, 0),
      );
      return { delaysMs: [5] };
    };
    expect(rig.run()?.ok).toBe(true);
    expect(most).toBe(INCOMING_WINDOW_BYTES);
  });

  test('shrinks its window when its parts stand in a queue, so that a heartbeat does not wait behind them', () => {
    // A link of 64 KiB in 20 ms, and a queue before it.
    const rig = new TransferRig(6 * MIB).start();
    let freeMs = 0;
    const waitedMs: number[] = [];
    rig.fate = (_number, envelope) => {
      if (envelope.kind !== 'snapshotPart') return GOOD;
      freeMs = Math.max(freeMs, rig.nowMs) + (envelope.bytes.length / SLICE) * 20;
      waitedMs.push(freeMs - rig.nowMs);
      return { delaysMs: [Math.ceil(freeMs - rig.nowMs) + 1] };
    };
    expect(rig.run()?.ok).toBe(true);
    expect(Math.max(...waitedMs)).toBeLessThanOrEqual(60);
    // And the link was not left idle for it.
    expect(rig.nowMs).toBeLessThan((rig.bytes.length / SLICE) * 20 * 1.3);
  });

  test('sends a lost part again as soon as a later one has arrived', () => {
    const rig = new TransferRig(20 * SLICE).start();
    let lost = 0;
    rig.fate = (_number, envelope) => {
      if (envelope.kind !== 'snapshotPart' || envelope.offset !== 10 * SLICE || lost > 0) return GOOD;
      lost += 1;
      return LOST;
    };
    expect(rig.run()?.ok).toBe(true);
    expect(lost).toBe(1);
    // Silence is noticed after a hundred milliseconds.
    expect(rig.nowMs).toBeLessThan(50);
  });

  test('waits for a slow follower, and gives up one that is silent (P72)', () => {
    const rig = new TransferRig(20 * SLICE).start();
    // Each part takes two seconds; the follower's heartbeat replies come.
    rig.fate = (_number, envelope) => ({ delaysMs: [envelope.kind === 'snapshotPart' ? 2000 : 1] });
    expect(rig.run(200_000)?.ok).toBe(true);
    const dead = new TransferRig(20 * SLICE).start();
    dead.fate = (number) => (number > 12 ? LOST : GOOD);
    expect(dead.run()).toMatchObject({
      ok: false,
      why: expect.stringMatching(/^nothing heard for 1\d{4} ms$/),
    });
    expect(dead.nowMs).toBeLessThan(13_000);
    expect(dead.sender.isIdle).toBe(true);
  });

  test('gives up a follower that answers and takes nothing', () => {
    const rig = new TransferRig(20 * SLICE).start();
    rig.fate = (_number, { kind }) => (kind === 'snapshotAck' ? LOST : GOOD);
    for (let i = 0; i < 100_000 && rig.ended.length === 0; i++) {
      rig.step();
      rig.sender.heard(2, rig.nowMs);
    }
    expect(rig.ended).toMatchObject([
      { ok: false, why: expect.stringMatching(/^no progress for 6\d{4} ms$/) },
    ]);
  });

  test('waits for the end while the follower installs, and gives up in time when none comes', () => {
    const rig = new TransferRig(3 * SLICE).start();
    rig.isBusy = true;
    for (let i = 0; i < 20 || rig.nowMs < 20_000; i++) rig.step();
    expect(rig.ended).toEqual([]);
    rig.isBusy = false;
    expect(rig.run()?.ok).toBe(true);
    expect([rig.installs, rig.ended.length]).toEqual([1, 1]);
    const slow = new TransferRig(3 * SLICE).start();
    slow.isBusy = true;
    expect(slow.run(100_000)).toMatchObject({
      ok: false,
      why: expect.stringContaining('it is not installed'),
    });
  });

  test('asks for the end again when it was lost', () => {
    const rig = new TransferRig(3 * SLICE).start();
    let lost = 0;
    rig.fate = (_number, { kind }) => (kind === 'snapshotEnd' && lost++ < 2 ? LOST : GOOD);
    expect(rig.run()?.ok).toBe(true);
    expect([rig.installs, lost]).toEqual([1, 3]);
  });

  test('drops a transfer that is of no use any more, and tells the core nothing', () => {
    const rig = new TransferRig(20 * SLICE).start();
    for (let i = 0; i < 5; i++) rig.step();
    rig.isNeeded = false;
    rig.step();
    expect(rig.sender.isIdle).toBe(true);
    expect(rig.ended).toEqual([]);
  });

  test('goes on with a transfer that is asked for once more', () => {
    const rig = new TransferRig(20 * SLICE).start();
    for (let i = 0; i < 9; i++) rig.step();
    rig.start();
    expect(rig.run()?.ok).toBe(true);
    expect(rig.sentParts).toBe(Math.ceil(rig.bytes.length / SLICE));
  });

  test('goes on with a transfer while the log continues behind it, and begins another when it does not', () => {
    const rig = new TransferRig(20 * SLICE).start();
    for (let i = 0; i < 9; i++) rig.step();
    const position = { index: 15, term: 3 };
    expect(rig.sender.start(2, rig.term, { position, engine: 'memory', logBase: 9, open }, rig.nowMs)).toBe(
      false,
    );
    const newer = { position, engine: 'memory', logBase: 10, open } as const;
    expect(() => rig.sender.start(2, rig.term, newer, rig.nowMs)).toThrow('newer snapshot is opened');
    expect(() => rig.sender.start(2, rig.term + 1, { ...newer, logBase: 9 }, rig.nowMs)).toThrow('is opened');
    expect(rig.run()?.ok).toBe(true);
  });

  test('goes on with a file that newer snapshots have superseded and removed', () => {
    const rig = new TransferRig(20 * SLICE).start();
    for (let i = 0; i < 9; i++) rig.step();
    rig.ownFs.remove(rig.ownPath);
    expect(rig.run()?.ok).toBe(true);
    expect(rig.isSame).toBe(true);
    rig.sender.clear();
    expect(rig.ownFs.openFiles).toBe(0);
  });

  test('never sends a byte of a damaged snapshot, and says what is wrong with it', () => {
    for (const at of [3, SLICE + 5, 5 * SLICE]) {
      const rig = new TransferRig(5 * SLICE);
      const bytes = rig.bytes.slice();
      bytes[at] = (bytes[at] ?? 0) ^ 4;
      rig.ownFs.poke(rig.ownPath, bytes);
      expect(() => rig.start().run()).toThrow(CorruptionError);
      expect(rig.envelopes).toBe(0);
    }
  });

  test('never sends bytes that changed after they were verified', () => {
    const rig = new TransferRig(40 * SLICE);
    let offers = 0;
    rig.fate = () => {
      offers += 1;
      return LOST;
    };
    rig.start();
    for (let i = 0; i < 10; i++) rig.step();
    expect(offers).toBeGreaterThan(0);
    rig.fate = () => GOOD;
    const file = rig.ownFs.open(rig.ownPath, 'readWrite');
    file.write(Uint8Array.of(1), 30 * SLICE);
    expect(() => rig.run()).toThrow(/the bytes from \d+ on have changed since they were verified$/);
    expect(rig.sentParts).toBeGreaterThan(1);
    expect(rig.sentParts).toBeLessThanOrEqual(40);
    expect(rig.installs).toBe(0);
  });

  test('begins again when all together is damaged, and gives up when it stays so', () => {
    const rig = new TransferRig(3 * SLICE).start();
    // Damage that the checksum of the part agrees with.
    let isForged = true;
    const take = rig.receiver.receive.bind(rig.receiver);
    rig.receiver.receive = (from, part, view) => {
      if (!isForged || part.offset === 0) return take(from, part, view);
      const bytes = new Uint8Array(part.bytes.length);
      return take(from, { ...part, bytes, partCrc32: crcOfZeros(bytes) }, view);
    };
    for (let i = 0; i < 8; i++) rig.step();
    isForged = false;
    expect(rig.run()?.ok).toBe(true);
    expect(rig.isSame).toBe(true);
    const bad = new TransferRig(3 * SLICE).start();
    const takeBad = bad.receiver.receive.bind(bad.receiver);
    bad.receiver.receive = (from, part, view) => {
      const bytes = new Uint8Array(part.bytes.length);
      return takeBad(from, { ...part, bytes, partCrc32: crcOfZeros(bytes) }, view);
    };
    expect(bad.run()).toMatchObject({ ok: false, why: expect.stringContaining('damaged') });
    expect(bad.fs.list('snapshots')).toEqual([]);
  });
});

describe('SnapshotReceiver', () => {
  test('holds no part in memory: 48 MiB pass through a few', () => {
    setFlagsFromString('--expose-gc');
    const collect: unknown = runInNewContext('gc');
    if (typeof collect !== 'function') throw new Error('A garbage collector was expected');
    const directory = mkdtempSync(join(tmpdir(), 'oxide-kv-incoming-'));
    try {
      const store = new SnapshotStore({ fs: new NodeFileSystem(), directory });
      const receiver = new SnapshotReceiver({
        receive: (identity, others) => store.receive(identity, others),
      });
      const view = { nowMs: 0, term: 1, engine: 'memory', wants: () => true, isInstalling: false } as const;
      const totalBytes = 48 * MIB;
      const offer = { kind: 'snapshotPart', term: 1, transfer: 1, position: POSITION } as const;
      const common = { ...offer, engine: 'memory', totalBytes } as const;
      const used = (): number => {
        collect();
        return process.memoryUsage().arrayBuffers;
      };
      const before = used();
      let most = 0;
      for (let offset = 0; offset < totalBytes; offset += SLICE) {
        const bytes = new Uint8Array(SLICE).fill(offset / SLICE);
        const partCrc32 = crc32(bytes);
        const answer = receiver.receive(1, { ...common, crc32: 5, offset, partCrc32, bytes }, view);
        expect(answer).toMatchObject({ offset: offset + SLICE, partBytes: SLICE });
        if (offset % (4 * MIB) === 0) most = Math.max(most, used() - before);
      }
      // The buffers of the last four MiB may not have been swept yet.
      expect(most).toBeLessThan(8 * MIB);
      receiver.clear();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('holds what has arrived on disk, and goes on from there with a new sender that has the same bytes', () => {
    const rig = new TransferRig(24 * MIB).start();
    while (rig.sentParts < 300) rig.step();
    rig.restartSender();
    const before = rig.sentParts;
    expect(rig.run()?.ok).toBe(true);
    expect(rig.sentParts - before).toBeLessThan(385 - 300 + WINDOW_PARTS + 8);
  });

  test('goes on after a restart of its own with all but what a power cut might have taken', () => {
    const rig = new TransferRig(24 * MIB).start();
    while (rig.sentParts < 300) rig.step();
    rig.restartReceiver();
    const before = rig.sentParts;
    expect(rig.run()?.ok).toBe(true);
    expect(rig.isSame).toBe(true);
    expect(rig.sentParts - before).toBeLessThan(385 - 300 + 3 * WINDOW_PARTS + 2);
  });

  test('takes no part of an older transfer into a newer one, whenever it comes (P73)', () => {
    const old = partsOf(new TransferRig(3 * SLICE));
    const rig = new TransferRig(5 * SLICE);
    rig.start();
    rig.sender.connected(2, 0);
    let replayed = 0;
    rig.fate = () => {
      for (const part of old) {
        const answer = rig.receiver.receive(1, part, rig.view);
        // Only before the newer transfer has begun does anybody listen to it.
        if (answer !== undefined) replayed += 1;
      }
      return GOOD;
    };
    expect(rig.run()?.ok).toBe(true);
    expect(rig.isSame).toBe(true);
    expect(replayed).toBeLessThanOrEqual(old.length);
  });

  test('receives from two leaders at once, makes room for a later term, and lets a third wait', () => {
    const rig = new TransferRig(3 * SLICE);
    const [offer] = partsOf(new TransferRig(3 * SLICE));
    if (offer === undefined) throw new Error('An offer was expected');
    const from = (node: number, term: number): unknown =>
      rig.receiver.receive(node, { ...offer, term, crc32: node }, { ...rig.view, term: 0 });
    expect(from(3, 5)).toMatchObject({ windowBytes: offer.totalBytes });
    expect(from(4, 6)).toMatchObject({ windowBytes: offer.totalBytes });
    expect(from(5, 5)).toMatchObject({ kind: 'snapshotAck', windowBytes: 0 });
    expect(from(6, 7)).toMatchObject({ windowBytes: offer.totalBytes });
    expect(rig.fs.list('snapshots')).toHaveLength(2);
    expect(rig.fs.openFiles).toBe(2);
    expect(from(3, 5)).toMatchObject({ windowBytes: 0 });
  });

  test('refuses in words what is too large, what comes from a deposed leader, and what it has', () => {
    const rig = new TransferRig(SLICE);
    const [offer] = partsOf(new TransferRig(SLICE));
    if (offer === undefined) throw new Error('An offer was expected');
    const answer = (part: Partial<Part>, commit = 0): unknown =>
      rig.receiver.receive(7, { ...offer, ...part }, { ...rig.view, wants: (index) => index > commit });
    expect(answer({ transfer: 1, totalBytes: LIMITS.snapshotBytesMax + 1 })).toMatchObject({
      outcome: 'tooLarge',
    });
    expect(answer({ transfer: 2, totalBytes: LIMITS.snapshotBytesMax })).toMatchObject({ offset: 0 });
    expect(answer({ transfer: 3, term: 2 })).toBeUndefined();
    expect(answer({ transfer: 3 }, 9)).toMatchObject({ outcome: 'installed' });
    expect(answer({ transfer: 3 })).toMatchObject({ outcome: 'installed' });
    rig.term = 4;
    expect(answer({ transfer: 4 })).toMatchObject({ outcome: 'deposed' });
    expect(rig.fs.list('snapshots')).toEqual([]);
  });

  test('promises nothing of one that is not in place yet, and wants no other meanwhile', () => {
    const rig = new TransferRig(SLICE);
    const [offer] = partsOf(new TransferRig(SLICE));
    if (offer === undefined) throw new Error('An offer was expected');
    const view = { ...rig.view, wants: () => false };
    const answer = (isInstalling: boolean): unknown =>
      rig.receiver.receive(7, offer, { ...view, isInstalling });
    expect(answer(true)).toMatchObject({ kind: 'snapshotAck', offset: 0, windowBytes: 0 });
    expect(answer(false)).toMatchObject({ kind: 'snapshotEnd', outcome: 'installed' });
  });

  test('takes nothing of a sender whose data another engine keeps, and says so at its first offer', () => {
    const rig = new TransferRig(4 * SLICE);
    rig.engine = 'lsm';
    expect(rig.start().run()).toMatchObject({
      ok: false,
      why: 'it is of an engine or a format that is not known there',
    });
    expect(rig.sentParts).toBe(0);
    expect(rig.fs.list('snapshots')).toEqual([]);
  });

  test('gets whole parts of a source that gives its bytes in pieces', () => {
    const rig = new TransferRig(4 * SLICE);
    rig.pieceBytes = 1000;
    expect(rig.start().run()?.ok).toBe(true);
    expect(rig.isSame).toBe(true);
    expect(rig.sentParts).toBe(Math.ceil(rig.bytes.length / SLICE));
  });

  test('tells a sender of a later format so, and the sender leaves it in peace for a while', () => {
    const rig = new TransferRig(SLICE).start();
    const take = rig.receiver.advance.bind(rig.receiver);
    rig.receiver.advance = (view) => {
      const { arrived } = take(view);
      const replies = arrived.flatMap((snapshot) => {
        const end = rig.receiver.settle(snapshot, 'unreadable');
        return end === undefined ? [] : [{ to: 1, end }];
      });
      return { arrived: [], replies };
    };
    expect(rig.run()).toMatchObject({
      ok: false,
      why: 'it is of an engine or a format that is not known there',
    });
    expect(rig.nowMs).toBeGreaterThan(10_000);
    expect(rig.envelopes).toBeLessThan(10);
  });

  test('forgets a transfer of which nothing is heard, and keeps what it has on disk', () => {
    const rig = new TransferRig(20 * SLICE).start();
    while (rig.sentParts < 8) rig.step();
    expect(rig.fs.openFiles).toBe(1);
    rig.nowMs += 61_000;
    rig.receiver.advance(rig.view);
    expect(rig.receiver.isIdle).toBe(true);
    expect(rig.fs.openFiles).toBe(0);
    expect(rig.fs.list('snapshots')).toHaveLength(1);
  });
});

function open(): never {
  throw new Error('the newer snapshot is opened');
}

/** CRC-32 of zero bytes, computed bit by bit: not by the code under test. */
function crcOfZeros(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (let i = 0; i < bytes.length * 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  return ~crc >>> 0;
}
