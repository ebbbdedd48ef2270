/** Scenarios of the write-ahead log. Its contents are the texts of its records. */
import { utf8 } from '../../src/lib/bytes.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { FileSystem } from '../../src/storage/fs.ts';
import { Wal } from '../../src/storage/wal.ts';
import { type Scenario, type Story, Violation } from './story.ts';

const DIRECTORY = 'wal';

function makeDirectory(fs: CrashFileSystem): void {
  fs.makeDirectory(DIRECTORY);
}

/** A record as it was told. */
interface Told {
  readonly segment: number;
  readonly text: string;
}

function open(fs: FileSystem): { readonly wal: Wal; readonly records: readonly Told[] } {
  const { wal, records } = Wal.open({ fs, directory: DIRECTORY });
  return {
    wal,
    records: records.map(({ segment, payload }) => ({ segment, text: Buffer.from(payload).toString() })),
  };
}

/** What the log of these records is called. */
function shown(records: readonly Told[]): string {
  return JSON.stringify(
    records.map(({ text }) => (text.length > 20 ? `${text.slice(0, 20)}+${text.length}` : text)),
  );
}

function recover(fs: FileSystem): string {
  const { wal, records } = open(fs);
  const { firstSegment, segment } = wal;
  wal.close();
  const files = fs.list(DIRECTORY).length;
  if (files !== segment - firstSegment + 1)
    throw new Violation(`${files} files lie where segments ${firstSegment} to ${segment} should`);
  return shown(records);
}

/** A log, and what was told about it. */
class Teller {
  readonly #wal: Wal;
  readonly #story: Story;
  #records: readonly Told[];

  constructor(wal: Wal, story: Story, records: readonly Told[]) {
    this.#wal = wal;
    this.#story = story;
    this.#records = records;
  }

  put(text: string): void {
    this.#records = [...this.#records, { segment: this.#wal.segment, text }];
    this.#offer();
    this.#story.step(() => this.#wal.append(1, 0, [utf8(text)]));
  }

  sync(): void {
    this.#story.step(() => this.#wal.sync());
    this.#story.settle();
  }

  roll(): void {
    this.#story.step(() => this.#wal.roll());
    this.#story.settle();
  }

  /** Lets go of all segments but this one. */
  removeOld(): void {
    const { segment } = this.#wal;
    for (let first = this.#wal.firstSegment; first < segment; first++) {
      this.#records = this.#records.filter((record) => record.segment > first);
      this.#offer();
    }
    this.#story.step(() => this.#wal.removeBefore(segment));
    this.#story.settle();
  }

  #offer(): void {
    this.#story.offer(shown(this.#records));
  }
}

function scenario(name: string, setUp: (fs: CrashFileSystem) => void, tell: (log: Teller) => void): Scenario {
  return {
    name: `log: ${name}`,
    setUp,
    recover,
    run: (fs, story) => {
      const { wal, records } = open(fs);
      try {
        tell(new Teller(wal, story, records));
      } finally {
        wal.close();
      }
      story.settle();
    },
  };
}

/** Segments with a record each. */
function segments(fs: CrashFileSystem, count: number): void {
  makeDirectory(fs);
  const { wal } = open(fs);
  for (let i = 1; i < count; i++) {
    wal.append(1, 0, [utf8(`${i}`)]);
    wal.roll();
  }
  wal.append(1, 0, [utf8(`${count}`)]);
  wal.close();
}

/** A log whose last record is cut off. */
function torn(fs: CrashFileSystem): void {
  segments(fs, 2);
  const path = `${DIRECTORY}/000002.wal`;
  const whole = fs.peek(path);
  const longer = new Uint8Array(whole.length + 700);
  longer.set(whole);
  longer.set(utf8('half a record'), whole.length + 300);
  fs.poke(path, longer);
}

export const LOG_SCENARIOS: readonly Scenario[] = [
  scenario('creation', makeDirectory, (log) => {
    log.put('a');
    log.sync();
  }),
  scenario(
    'append and sync',
    (fs) => segments(fs, 1),
    (log) => {
      for (const bytes of [5, 700, 30]) log.put(`a${bytes}`.padEnd(bytes, 'a'));
      log.sync();
      for (const bytes of [3, 1500, 40, 600]) log.put(`b${bytes}`.padEnd(bytes, 'b'));
      log.sync();
      log.put('c');
      log.put('d'.padEnd(9000, 'd'));
      log.sync();
      log.put('e');
    },
  ),
  scenario('batches', makeDirectory, (log) => {
    for (const batch of [0, 1, 2, 3]) {
      for (let i = 0; i < 7; i++)
        log.put(`${batch}.${i}:`.padEnd(20 + ((i * 397 + batch * 811) % 1100), 'r'));
      log.sync();
    }
  }),
  scenario('a torn tail, and behind it', torn, (log) => {
    log.put('x'.padEnd(400, 'x'));
    log.put('y'.padEnd(700, 'y'));
    log.sync();
  }),
  scenario(
    'roll',
    (fs) => segments(fs, 2),
    (log) => {
      for (let i = 0; i < 3; i++) {
        log.put(`a${i}`.padEnd(i * 600, 'a'));
        log.put(`b${i}`);
        log.roll();
      }
      log.put('c');
      log.put('d'.padEnd(800, 'd'));
    },
  ),
  scenario(
    'roll, restate and remove',
    (fs) => segments(fs, 4),
    (log) => {
      log.put('a'.padEnd(700, 'a'));
      log.roll();
      log.put('restated'.padEnd(600, '.'));
      log.sync();
      log.removeOld();
      log.put('b');
      log.roll();
      log.put('restated again');
      log.sync();
      log.removeOld();
      log.put('c');
    },
  ),
];
