/**
 * What is promised while a scenario runs: the contents that a restart may find. Contents are offered before the call that
 * may bring them about, and settled when the product has said that they are durable.
 */
import { StorageError } from '../../src/lib/errors.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { FileSystem } from '../../src/storage/fs.ts';

/** Something that must not be, found by an attack. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** A short life of a part of the storage, and how a restart looks at what is left of it. */
export interface Scenario {
  readonly name: string;
  /** Puts on an empty disk what is there before; it counts as durable. */
  readonly setUp: (fs: CrashFileSystem) => void;
  /** Opens the product, uses it and closes it, also when something throws; tells what is promised. */
  readonly run: (fs: FileSystem, story: Story) => void;
  /** Opens the product as a restart does, reads everything, checks that nothing is left over, and closes it. */
  readonly recover: (fs: FileSystem) => string;
  /** It is about a beginning, and cannot go on from what it has left. */
  readonly isRunOnce?: boolean;
  /** A whole node: a restart writes something of its own, and what fails to start ends with its process, files and all. */
  readonly isProcess?: boolean;
}

/** Which of the contents offered so far a restart may find: from one to another, both included. */
export interface Legal {
  readonly from: number;
  readonly to: number;
}

export class Story {
  readonly offers: string[];
  #from = 0;
  readonly #onTold: (legal: Legal) => void;
  readonly #triesMax: number;

  /**
   * @param first what was there before
   * @param onTold is called whenever {@link legal} changes
   * @param triesMax how often a step is tried that the disk refuses
   */
  constructor(first: string, onTold: (legal: Legal) => void = () => {}, triesMax = 1) {
    this.offers = [first];
    this.#onTold = onTold;
    this.#triesMax = triesMax;
    onTold(this.legal);
  }

  get legal(): Legal {
    return { from: this.#from, to: this.offers.length - 1 };
  }

  /** From now on a restart may find this too. */
  offer(contents: string): void {
    if (this.offers.at(-1) === contents) return;
    this.offers.push(contents);
    this.#onTold(this.legal);
  }

  /** What was offered last was refused, and certainly did not happen. */
  withdraw(): void {
    if (this.offers.length - 1 === this.#from) return;
    this.offers.pop();
    this.#onTold(this.legal);
  }

  /** What was offered last is durable: a restart finds nothing older. */
  settle(): void {
    this.#from = this.offers.length - 1;
    this.#onTold(this.legal);
  }

  /** Whether a restart may find this. */
  allows(contents: string, { from, to }: Legal = this.legal): boolean {
    return this.offers.slice(from, to + 1).includes(contents);
  }

  /** Something that the product may try again after the disk has refused, and then carries out or refuses again. */
  step(run: () => void): void {
    for (let tries = 1; ; tries++) {
      try {
        run();
        return;
      } catch (error) {
        if (!(error instanceof StorageError) || tries >= this.#triesMax) throw error;
      }
    }
  }
}

/** What is not right with the contents found, in words; undefined when they are legal. */
export function judge(story: Story, legal: Legal, found: string): string | undefined {
  if (story.allows(found, legal)) return undefined;
  const place = story.offers.lastIndexOf(found);
  const shown = found.length > 300 ? `${found.slice(0, 300)}…` : found;
  if (place < 0) return `found what never was: ${shown}`;
  return place < legal.from
    ? `lost what was acknowledged: found state ${place}, expected ${legal.from} at least: ${shown}`
    : `found state ${place} before it was offered`;
}
