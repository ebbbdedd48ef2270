/**
 * The nth call fails, for every n: once or from then on, with each error that a disk gives. The product may refuse or
 * recover; it never gives a wrong answer, never fails in another way, and loses nothing that it has acknowledged ("Anomaly
 * testing" of SQLite).
 */
import { type Call, type CrashFileSystem, type Fault, type Intercept } from '../../src/sim/disk.ts';
import { Random } from '../../src/lib/random.ts';
import { preparedImage } from './crash-attack.ts';
import { type Image, diskOf } from './images.ts';
import { isTyped, lineOf, restart } from './restart.ts';
import { type Scenario, Story, Violation, judge } from './story.ts';

/** What a call suffers; undefined when it cannot. */
interface FaultKind {
  readonly name: string;
  readonly faultOf: (call: Call) => Fault | undefined;
}

const KINDS: readonly FaultKind[] = [
  {
    name: 'EIO',
    // A sync that fails forgets what it should have written, and the next one succeeds.
    faultOf: ({ kind }) =>
      kind === 'sync' ? { kind: 'dropPages', errno: 'EIO' } : { kind: 'error', errno: 'EIO' },
  },
  { name: 'ENOSPC', faultOf: () => ({ kind: 'error', errno: 'ENOSPC' }) },
  {
    name: 'short write',
    faultOf: ({ kind, number }) =>
      kind === 'write' ? { kind: 'shortWrite', errno: 'ENOSPC', bytes: 1 + (number % 40) } : undefined,
  },
];

/** So often, at most, is a step tried that a disk refuses, as a node does with a checkpoint. */
const TRIES_MAX = 3;
const VIOLATIONS_MAX = 20;

/** What came of one scenario. */
export interface FaultRow {
  readonly scenario: string;
  readonly calls: number;
  /** Runs with a call that failed. */
  readonly runs: number;
  /** Runs in which the scenario came to its end all the same. */
  readonly survived: number;
  readonly violations: readonly string[];
}

/** @param stride calls from one that fails to the next */
export function attackByFaults(scenario: Scenario, stride: number): FaultRow {
  return new FaultAttack(scenario).run(stride);
}

class FaultAttack {
  readonly #scenario: Scenario;
  readonly #image: Image;
  readonly #first: string;
  readonly #violations: string[] = [];
  #runs = 0;
  #survived = 0;
  #callsMax = 0;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#image = preparedImage(scenario);
    this.#first = restart(scenario, diskOf(this.#image));
  }

  run(stride: number): FaultRow {
    const fs = diskOf(this.#image);
    const before = fs.calls;
    this.#scenario.run(fs, new Story(this.#first));
    const calls = fs.calls - before;
    this.#callsMax = 20 * calls + 1000;
    let shift = 0;
    for (const kind of KINDS) {
      for (const isForEver of [false, true]) {
        // Short strides in the gate meet other calls with every kind.
        for (let n = 1 + (shift++ % stride); n <= calls; n += stride) this.#attack(n, kind, isForEver);
      }
    }
    const { name } = this.#scenario;
    return {
      scenario: name,
      calls,
      runs: this.#runs,
      survived: this.#survived,
      violations: this.#violations,
    };
  }

  #attack(n: number, kind: FaultKind, isForEver: boolean): void {
    if (this.#violations.length >= VIOLATIONS_MAX) return;
    const fs = diskOf(this.#image);
    const faults = new Faults(kind, { first: fs.calls + n, isForEver, callsMax: this.#callsMax });
    fs.intercept = faults.intercept;
    const story = new Story(this.#first, undefined, 1 + (n % TRIES_MAX));
    try {
      const isDone = this.#carryOut(fs, story);
      fs.intercept = undefined;
      if (faults.met === undefined) return;
      this.#runs += 1;
      if (isDone) this.#survived += 1;
      if (!isDone && fs.openFiles > 0 && this.#scenario.isProcess !== true)
        throw new Violation(`it leaves ${fs.openFiles} files open`);
      const legal = story.legal;
      // In half of the runs the power goes too; in the others the system still shows what it could not write.
      const after = n % 2 === 0 ? fs.crash(new Random(n), 'worst') : fs;
      const found = restart(this.#scenario, after);
      const verdict = judge(story, legal, found);
      if (verdict !== undefined) throw new Violation(verdict);
    } catch (error) {
      const place = `call ${n} (${faults.met}) fails with ${kind.name} ${isForEver ? 'for ever' : 'once'}`;
      this.#violations.push(`${this.#scenario.name}: ${place}: ${lineOf(error)}`);
    }
  }

  /** @returns whether it came to its end @throws anything but a typed error */
  #carryOut(fs: CrashFileSystem, story: Story): boolean {
    try {
      this.#scenario.run(fs, story);
      return true;
    } catch (error) {
      if (!isTyped(error)) throw error;
      if (error instanceof Error && error.name === 'CorruptionError')
        throw new Violation(`it calls a refusal damage: ${error.message}`, { cause: error });
      return false;
    }
  }
}

/** Lets calls fail. */
class Faults {
  /** The first call that failed. */
  met: string | undefined;
  readonly intercept: Intercept;

  constructor(
    kind: FaultKind,
    {
      first,
      isForEver,
      callsMax,
    }: { readonly first: number; readonly isForEver: boolean; readonly callsMax: number },
  ) {
    this.intercept = (call) => {
      if (call.number > first + callsMax) throw new Violation(`more than ${callsMax} calls follow`);
      if (call.number < first || (call.number > first && !isForEver)) return undefined;
      const fault = kind.faultOf(call);
      if (fault !== undefined) this.met ??= `${call.kind} ${call.path}`;
      return fault;
    };
  }
}
