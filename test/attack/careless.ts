/** A product with every fault that the attacks look for: that they find them shows that they look. */
import { textOf, utf8 } from '../../src/lib/bytes.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { readFile } from '../../src/storage/files.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import type { FlipTarget } from './flip-attack.ts';
import { imageOf } from './images.ts';
import type { Scenario } from './story.ts';

const PATH = 'note';

function read(fs: FileSystem): string {
  return textOf(readFile(fs, PATH)) ?? 'no text';
}

/** Replaces a text in place, says so whatever the disk said, and syncs nothing. */
export const CARELESS: Scenario = {
  name: 'careless',
  setUp: (fs) => fs.poke(PATH, utf8('old')),
  recover: read,
  run: (fs, story) => {
    story.offer('new');
    try {
      const file = fs.open(PATH, 'readWrite');
      file.write(utf8('new'), 0);
      file.close();
    } catch {
      // It does not care.
    }
    story.settle();
  },
};

/** The text has no checksum. */
export function carelessTarget(): FlipTarget {
  const fs = new CrashFileSystem();
  CARELESS.setUp(fs);
  return { name: 'careless', image: imageOf(fs), path: PATH, recover: read, afterFlip: [], afterCut: [] };
}
