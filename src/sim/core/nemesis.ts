/**
 * Disturbs a simulated run, as planned: each disturbance has a number and a stream of its own, so that leaving one out
 * changes no other. It keeps the script of what was done, in words.
 */
import { Random } from '../../lib/random.ts';
import type { Disturbance } from '../report.ts';
import { lowerHints, setClimate } from './climate.ts';
import { delay, double, echo, hold, lose, mute, partition, replay } from './link-trouble.ts';
import { changeMembers, transfer } from './member-trouble.ts';
import * as onNodes from './node-trouble.ts';
import { CLIMATES, type DisturbanceKind, type Planned } from './plan.ts';
import { playShape } from './shapes.ts';
import { Trouble } from './trouble.ts';
import type { World } from './world.ts';

type Disturb = (trouble: Trouble) => string;

const DISTURB: ReadonlyMap<DisturbanceKind, Disturb> = new Map<DisturbanceKind, Disturb>([
  ...CLIMATES.map((kind) => [kind, (trouble: Trouble) => setClimate(kind, trouble)] as const),
  ['crash', onNodes.crash],
  ['crash all', onNodes.crashAll],
  ['trap', onNodes.trap],
  ['partition', partition],
  ['mute', mute],
  ['lose', lose],
  ['double', double],
  ['delay', delay],
  ['hold', hold],
  ['replay', replay],
  ['slow disk', onNodes.slowDisk],
  ['stuck disk', onNodes.stuckDisk],
  ['failing disk', onNodes.failingDisk],
  ['pause', onNodes.pause],
  ['clock', onNodes.clock],
  ['compact', onNodes.compact],
  ['campaign', onNodes.campaign],
  ['unreachable', onNodes.unreachable],
  ['hints', lowerHints],
  ['burst', onNodes.burst],
  ['shape', playShape],
  ['echo', echo],
  ['members', changeMembers],
  ['transfer', transfer],
]);

export class Nemesis {
  /** What was done, in order. */
  readonly script: Disturbance[] = [];
  /** How often each kind of fault happened. */
  readonly faults: Map<string, number> = new Map();
  readonly #world: World;
  #isOver = false;

  /** @param omit numbers of disturbances that do not happen */
  constructor(world: World, omit: ReadonlySet<number> | undefined) {
    this.#world = world;
    for (const planned of world.plan.disturbances)
      if (omit?.has(planned.number) !== true) world.time.after(planned.atMs, () => this.#disturb(planned));
  }

  /** From now on nothing of it has any effect. */
  end(): void {
    this.#isOver = true;
    this.#world.watchers.clear();
  }

  #disturb({ number, kind }: Planned): void {
    if (this.#isOver) return;
    const world = this.#world;
    const random = new Random(`core/${world.plan.seed}/disturbance${number}`);
    const count = (fault: string): void => void this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
    const text = DISTURB.get(kind)?.(new Trouble(world, random, () => this.#isOver, count)) ?? kind;
    this.script.push({ number, atMs: world.time.nowMs, text });
    world.tell(() => `#${number} ${text}`);
  }
}
