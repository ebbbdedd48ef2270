/** Every kind of file of a later format is refused in one sentence that says what was found, what is known, and what to do. */
import { describe, expect, test } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterIdentity } from '../../src/cluster/identity.ts';
import { StorageError } from '../../src/lib/errors.ts';
import { crc32 } from '../../src/lib/crc32.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { readSealedJson, writeSealedJson } from '../../src/storage/sealed-json.ts';
import { encodeSegmentHeader } from '../../src/storage/segment.ts';
import { Wal } from '../../src/storage/wal.ts';

describe('a later format', () => {
  test('of node.json or peers.json', () => {
    const fs = new CrashFileSystem();
    fs.makeDirectory('data');
    writeSealedJson(fs, 'data', 'node.json', { format: 9 });
    expect(() => readSealedJson(fs, 'data/node.json')).toThrow(
      new StorageError(
        'Cannot read "data/node.json": its format is 9, this program reads up to 2; start a later version of it',
      ),
    );
  });

  test('of a log segment, which is not called damaged', () => {
    const header = encodeSegmentHeader(1, 0);
    const view = new DataView(header.buffer);
    view.setUint32(8, 9, true);
    view.setUint32(20, crc32(header, 0, 20), true);
    const fs = new CrashFileSystem();
    fs.makeDirectory('wal');
    fs.poke('wal/000001.wal', header);
    expect(() => Wal.open({ fs, directory: 'wal' })).toThrow(
      new StorageError(
        'Cannot open segment "wal/000001.wal": its format is 9, this program reads up to 1; start a later version of it',
      ),
    );
  });

  test('of cluster.json', () => {
    const folder = mkdtempSync(join(tmpdir(), 'oxide-kv-later-'));
    try {
      writeFileSync(join(folder, 'cluster.json'), '{"format":9}');
      expect(() => ClusterIdentity.open(folder, undefined)).toThrow(
        new StorageError(
          `Cannot read "${folder}/cluster.json": its format is 9, this program reads up to 2; start a later version of it`,
        ),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
