/**
 * Power cuts: a scenario runs once on a disk that writes down every effect, and then every state that a power cut could have
 * left is restarted. Some restarts are attacked in the same way.
 */
import { Random } from '../../src/lib/random.ts';
import { CrashFileSystem } from '../../src/sim/disk.ts';
import { crashStates } from './crash-states.ts';
import { RecordingFileSystem } from './effects.ts';
import { type Image, diskOf, hashOf, imageOf } from './images.ts';
import { bounded, lineOf, restart } from './restart.ts';
import { type Legal, type Scenario, Story, judge } from './story.ts';

/** How much is tried. */
export interface CrashEffort {
  /** States for each effect, at most. */
  readonly perPoint: number;
  /** Of a scenario with many effects so many states in all, about. */
  readonly statesMax: number;
  /** The 16th restart is attacked itself, and the life that follows it; then that at so many times the number, and so on. */
  readonly nestedFactor: number;
  /** States for each effect of such a restart or life, at most. */
  readonly restartPerPoint: number;
  /** The disk does as if the scenario had never synced anything: it must be found out then. */
  readonly isNeverSynced?: boolean;
}

export const CRASH_EVERYTHING: CrashEffort = {
  perPoint: 1000,
  statesMax: 40_000,
  nestedFactor: 4,
  restartPerPoint: 8,
};
export const CRASH_GATE: CrashEffort = { perPoint: 5, statesMax: 300, nestedFactor: 16, restartPerPoint: 1 };

/** What came of one scenario. */
export interface CrashRow {
  readonly scenario: string;
  /** Calls of the file system that it makes. */
  readonly calls: number;
  /** Effects, behind each of which the power was cut. */
  readonly moments: number;
  /** Different disks that were restarted. */
  readonly states: number;
  readonly violations: readonly string[];
}

/** The first few tell enough. */
const VIOLATIONS_MAX = 20;

/** Files that are there when a scenario begins. */
export function preparedImage(scenario: Scenario): Image {
  const fs = new CrashFileSystem();
  scenario.setUp(fs);
  return imageOf(fs);
}

export function attackByCrashes(scenario: Scenario, effort: CrashEffort): CrashRow {
  return new CrashAttack(scenario, effort).run();
}

class CrashAttack {
  readonly #scenario: Scenario;
  readonly #effort: CrashEffort;
  readonly #random: Random;
  /** What a restart found on each disk, by the hash of the disk. */
  readonly #found: Map<string, string> = new Map();
  readonly #bad: Set<string> = new Set();
  readonly #violations: Set<string> = new Set();
  #isNested = false;
  #nextNested = 16;

  constructor(scenario: Scenario, effort: CrashEffort) {
    this.#scenario = scenario;
    this.#effort = effort;
    this.#random = new Random(scenario.name);
  }

  run(): CrashRow {
    const scenario = this.#scenario;
    const image = preparedImage(scenario);
    const fs = diskOf(image);
    const recording = new RecordingFileSystem(fs, image.files.keys());
    const first = restart(scenario, diskOf(image));
    const story = new Story(first, (legal) => recording.told(legal));
    const callsBefore = fs.calls;
    bounded(fs);
    scenario.run(recording, story);
    const calls = fs.calls - callsBefore;
    const { perPoint, statesMax } = this.#effort;
    const share = Math.ceil(statesMax / recording.effects.length);
    this.#judgeAll(story, image, recording, Math.min(perPoint, share));
    return {
      scenario: scenario.name,
      calls,
      moments: recording.effects.length,
      states: this.#found.size + this.#bad.size,
      violations: [...this.#violations],
    };
  }

  #judgeAll(story: Story, image: Image, recording: RecordingFileSystem, perPoint: number): void {
    const initial = { image, inodes: recording.initial };
    const { isNeverSynced = false } = this.#effort;
    const effects = recording.effects.filter(
      ({ kind }) => !isNeverSynced || (kind !== 'sync' && kind !== 'syncDirectory'),
    );
    for (const state of crashStates(initial, effects, { random: this.#random, perPoint })) {
      if (this.#violations.size >= VIOLATIONS_MAX) return;
      this.#judge(story, state.image, state.legal);
    }
  }

  #judge(story: Story, image: Image, legal: Legal): void {
    const hash = hashOf(image);
    if (this.#bad.has(hash)) return;
    let found = this.#found.get(hash);
    if (found === undefined) {
      try {
        found = restart(this.#scenario, diskOf(image));
      } catch (error) {
        this.#bad.add(hash);
        this.#report(image, lineOf(error));
        return;
      }
      this.#found.set(hash, found);
      if (!this.#isNested && this.#found.size >= this.#nextNested) this.#attackNext(image, found);
    }
    const verdict = judge(story, legal, found);
    if (verdict !== undefined) this.#report(image, verdict);
  }

  #attackNext(image: Image, found: string): void {
    this.#nextNested = this.#found.size * this.#effort.nestedFactor;
    this.#isNested = true;
    this.#attackRestart(image, found);
    if (this.#scenario.isRunOnce !== true) this.#attackSecondLife(image, found);
    this.#isNested = false;
  }

  /** Power cuts during the restart of a disk: afterwards a restart finds the same as this one would have. */
  #attackRestart(image: Image, found: string): void {
    const recording = new RecordingFileSystem(diskOf(image), image.files.keys());
    this.#scenario.recover(recording);
    this.#judgeAll(new Story(found), image, recording, this.#effort.restartPerPoint);
  }

  /** Power cuts in a life behind a power cut: nothing of what was lost comes back. */
  #attackSecondLife(image: Image, found: string): void {
    const fs = diskOf(image);
    const recording = new RecordingFileSystem(fs, image.files.keys());
    const story = new Story(found, (legal) => recording.told(legal));
    bounded(fs);
    try {
      this.#scenario.run(recording, story);
    } catch (error) {
      this.#report(image, `a life behind a power cut ends: ${lineOf(error)}`);
      return;
    }
    this.#judgeAll(story, image, recording, this.#effort.restartPerPoint);
  }

  #report(image: Image, what: string): void {
    if (this.#violations.size >= VIOLATIONS_MAX) return;
    const files = Array.from(image.files, ([path, bytes]) => `${path} ${bytes.length}`).toSorted();
    this.#violations.add(`${this.#scenario.name}: ${what} [${files.join(', ')}]`);
  }
}
