/**
 * What is done to a cluster of processes: a table of attacks, of which a seeded stream draws one after the other. An
 * attack only does harm; whoever ran it repairs everything afterwards. When it strikes is up to the machine, so that a
 * seed repeats the plan and not the run.
 */
import { at } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import { type Link, allLinks, bridge, deaf, halves, isolation, mute } from './links.ts';
import type { NodeProcesses } from './nodes.ts';
import type { Pause } from './target.ts';

const DOWN_MS_MAX = 1000;
const STOPPED_MS_MAX = 2500;
const CUT_MS_MAX = 2500;
const DELAY_MS_MAX = 200;

/** What an attack has at hand. */
interface Scene {
  readonly nodes: NodeProcesses;
  readonly random: Random;
  /** Who led a moment ago; anybody when nobody did. */
  readonly leader: number;
  readonly followers: readonly number[];
  readonly pause: Pause;
}

interface Attack {
  /** How often it is drawn, against the others. */
  readonly weight: number;
  /** @returns what was done, in a few words */
  readonly run: (scene: Scene) => Promise<string>;
}

const ATTACKS: readonly Attack[] = [
  { weight: 4, run: (scene) => killSome(scene, 'the leader', [scene.leader]) },
  { weight: 3, run: (scene) => killSome(scene, 'a follower', [anyOf(scene, scene.followers)]) },
  { weight: 2, run: (scene) => killSome(scene, 'a majority', majority(scene)) },
  { weight: 3, run: (scene) => killSome(scene, 'all', everyone(scene)) },
  { weight: 3, run: killAgain },
  { weight: 1, run: quitSome },
  { weight: 3, run: stopSome },
  { weight: 5, run: cutOff },
  { weight: 1, run: flap },
  { weight: 1, run: slowDown },
  { weight: 1, run: tear },
  { weight: 2, run: stopAndCut },
  { weight: 3, run: cutAndKill },
  { weight: 2, run: slowAndKill },
];

/** Draws an attack and carries it out. What it broke stays broken. @returns what was done, in a few words */
export async function attack(nodes: NodeProcesses, random: Random, pause: Pause): Promise<string> {
  const all = Array.from({ length: nodes.count }, (_, i) => i);
  const anybody = random.int(0, nodes.count - 1);
  const leader = (await nodes.leader()) ?? anybody;
  const scene = { nodes, random, leader, followers: all.filter((i) => i !== leader), pause };
  let left = random.int(
    1,
    ATTACKS.reduce((sum, { weight }) => sum + weight, 0),
  );
  for (const { weight, run } of ATTACKS) {
    left -= weight;
    if (left <= 0) return await run(scene);
  }
  return 'nothing';
}

async function killSome(scene: Scene, whom: string, victims: readonly number[]): Promise<string> {
  const { nodes, random, pause } = scene;
  await Promise.all(victims.map((node) => nodes.kill(node)));
  for (const node of victims) {
    // oxlint-disable-next-line no-await-in-loop -- they come back one after the other, at random times
    await pause((random.int(0, DOWN_MS_MAX) * random.int(0, 1)) / victims.length);
    nodes.start(node);
  }
  return `kill -9 of ${whom}`;
}

/** A node that dies while it recovers from its last death. */
async function killAgain(scene: Scene): Promise<string> {
  const { nodes, random, pause } = scene;
  const node = random.int(0, nodes.count - 1);
  const times = random.int(2, 4);
  for (let i = 0; i < times; i++) {
    // oxlint-disable-next-line no-await-in-loop -- one death after the other
    await nodes.kill(node);
    nodes.start(node);
    // oxlint-disable-next-line no-await-in-loop
    await pause(random.int(20, 600));
  }
  await nodes.kill(node);
  return `kill -9 of one node, ${times + 1} times, also while it started`;
}

async function quitSome(scene: Scene): Promise<string> {
  const { nodes, random, pause } = scene;
  const whom = random.chance(0.5) ? everyone(scene) : [scene.leader];
  for (const node of whom) {
    // oxlint-disable-next-line no-await-in-loop -- as an operator restarts a cluster, one after the other
    await nodes.quit(node);
    nodes.start(node);
    // oxlint-disable-next-line no-await-in-loop
    await pause(random.int(0, 800));
  }
  return whom.length === 1 ? 'SIGTERM of the leader' : 'SIGTERM of all, one after the other';
}

async function stopSome(scene: Scene): Promise<string> {
  const { nodes, random, pause } = scene;
  const draws: readonly (readonly [string, readonly number[]])[] = [
    ['the leader', [scene.leader]],
    ['the leader', [scene.leader]],
    ['a follower', [anyOf(scene, scene.followers)]],
    ['all', everyone(scene)],
  ];
  const [whom, victims] = at(draws, random.int(0, draws.length - 1));
  const stoppedMs = random.int(50, STOPPED_MS_MAX);
  for (const node of victims) nodes.stop(node);
  await pause(stoppedMs);
  for (const node of victims) nodes.resume(node);
  return `SIGSTOP of ${whom} for ${stoppedMs} ms`;
}

/** Some links in one of the shapes, and its name. */
function shape({ random, leader, followers, nodes }: Scene): readonly [string, readonly Link[]] {
  const { count } = nodes;
  if (count === 1) return ['nobody', []];
  const follower = at(followers, random.int(0, followers.length - 1));
  const shapes: readonly (readonly [string, readonly Link[]])[] = [
    ['the leader alone', isolation(leader, count)],
    ['the leader alone', isolation(leader, count)],
    ['a follower alone', isolation(follower, count)],
    ['two halves', halves(new Set([leader, ...followers.slice(0, (count >> 1) - 1)]), count)],
    ['nobody hears the leader', mute(leader, count)],
    ['the leader hears nobody', deaf(leader, count)],
    ['nobody hears a follower', mute(follower, count)],
    ['a follower hears nobody', deaf(follower, count)],
    ['only a follower hears all', bridge(follower, count)],
    ['only the leader hears all', bridge(leader, count)],
    ['one way of one link', [{ from: leader, to: follower }]],
    ['all links', allLinks(count)],
  ];
  const [name, links] = at(shapes, random.int(0, shapes.length - 1));
  return links.length === 0 ? ['the leader alone', isolation(leader, count)] : [name, links];
}

function cut(scene: Scene): string {
  const { nodes, random } = scene;
  const [name, links] = shape(scene);
  const kind = random.chance(0.5) ? 'held' : 'lost';
  if (links.length > 0) nodes.cut(links, { kind });
  return `partition (${name}, ${kind})`;
}

async function cutOff(scene: Scene): Promise<string> {
  const cutMs = scene.random.int(200, CUT_MS_MAX);
  const what = cut(scene);
  await scene.pause(cutMs);
  return `${what} for ${cutMs} ms`;
}

async function flap(scene: Scene): Promise<string> {
  const { nodes, random, pause } = scene;
  const times = random.int(3, 6);
  for (let i = 0; i < times; i++) {
    cut(scene);
    // oxlint-disable-next-line no-await-in-loop -- cut, whole, cut, whole
    await pause(random.int(50, 500));
    nodes.heal();
    // oxlint-disable-next-line no-await-in-loop
    await pause(random.int(50, 400));
  }
  return `${times} short partitions`;
}

async function slowDown(scene: Scene): Promise<string> {
  const delayMs = slow(scene);
  await scene.pause(scene.random.int(500, CUT_MS_MAX));
  return `links with a delay of ${delayMs} ms`;
}

function slow({ nodes, random, leader }: Scene): number {
  const delayMs = random.int(5, DELAY_MS_MAX);
  const links = random.chance(0.5) ? allLinks(nodes.count) : isolation(leader, nodes.count);
  if (links.length > 0) nodes.slow(links, delayMs);
  return delayMs;
}

async function tear({ nodes, random, pause }: Scene): Promise<string> {
  const links = allLinks(nodes.count);
  const times = links.length === 0 ? 0 : random.int(5, 20);
  for (let i = 0; i < times; i++) {
    nodes.tear(at(links, random.int(0, links.length - 1)));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await pause(random.int(10, 100));
  }
  return `${times} torn connections`;
}

/** A leader that is asleep while it is deposed, and wakes up alone: it must not answer from what it remembers. */
async function stopAndCut(scene: Scene): Promise<string> {
  const { nodes, random, pause, leader } = scene;
  nodes.stop(leader);
  await pause(random.int(0, 1200));
  const what = cut(scene);
  await pause(random.int(0, 800));
  nodes.resume(leader);
  await pause(random.int(100, 1500));
  return `SIGSTOP of the leader, then ${what}`;
}

/** A node dies in a divided cluster, and comes back before or after it is whole again. */
async function cutAndKill(scene: Scene): Promise<string> {
  const { nodes, random, pause } = scene;
  const what = cut(scene);
  await pause(random.int(0, 1200));
  const victims = random.chance(0.3) ? everyone(scene) : [random.int(0, nodes.count - 1)];
  await Promise.all(victims.map((node) => nodes.kill(node)));
  if (random.chance(0.5)) nodes.heal();
  await pause(random.int(0, 500));
  for (const node of victims) nodes.start(node);
  await pause(random.int(0, 800));
  return `${what}, kill -9 of ${victims.length}`;
}

async function slowAndKill(scene: Scene): Promise<string> {
  const { nodes, random, pause, leader } = scene;
  const delayMs = slow(scene);
  await pause(random.int(100, 1000));
  await nodes.kill(leader);
  await pause(random.int(0, 600));
  nodes.start(leader);
  await pause(random.int(0, 600));
  return `kill -9 of the leader on links with a delay of ${delayMs} ms`;
}

function everyone({ leader, followers }: Scene): readonly number[] {
  return [leader, ...followers];
}

/** A majority with the leader in it. */
function majority({ leader, followers, nodes }: Scene): readonly number[] {
  return [leader, ...followers].slice(0, (nodes.count >> 1) + 1);
}

/** One of them; the leader when there is none. */
function anyOf({ random, leader }: Scene, list: readonly number[]): number {
  return list[random.int(0, Math.max(0, list.length - 1))] ?? leader;
}
