/** Disturbances of replicas: crashes, traps that crash at a chosen moment, slow and failing disks, pauses, clocks, and orders to stand for election. */
import type { Event, Message } from '../../raft/messages.ts';
import type { SimNode } from './node.ts';
import { pick } from './plan.ts';
import { type Trouble, names } from './trouble.ts';
import type { Watcher } from './world.ts';

/** A restart this fast comes back into the term it left. */
const QUICK_MS = 20;

/** A node loses its power; some of what its disk was writing is kept. */
export function crash(trouble: Trouble): string {
  const node = trouble.victim();
  const downMs = crashNode(trouble, node);
  return `crash n${node.id} for ${Math.round(downMs)} ms`;
}

/** Several nodes, or all, lose their power at once. */
export function crashAll(trouble: Trouble): string {
  const { nodes, observer } = trouble.world;
  const chosen = trouble.random.chance(0.5) ? nodes : trouble.some(0.6);
  for (const node of chosen) crashNode(trouble, node);
  if (chosen.length === nodes.length) observer.probes.add('crash of the whole cluster');
  return `crash ${names(chosen)}`;
}

/** Crashes a node and starts it again, often at once. @returns how long it is down */
export function crashNode(trouble: Trouble, node: SimNode): number {
  const { random, world } = trouble;
  const kept = random.chance(0.6) ? 0 : random.int(0, node.disk.outstanding);
  trouble.count('crash');
  world.crash(node, kept);
  return restartLater(trouble, node);
}

function restartLater(trouble: Trouble, node: SimNode): number {
  const { random, world } = trouble;
  const downMs = random.chance(0.6) ? random.ratio() * 2 * QUICK_MS : trouble.span(8);
  const { life } = node;
  if (downMs < world.plan.raft.heartbeatMs) world.observer.probes.add('restart within a heartbeat');
  trouble.later(downMs, () => {
    if (node.raft === undefined && node.life === life) world.start(node);
  });
  return downMs;
}

type Bait = (node: SimNode, what: Message | Event) => boolean;

/** What a trap waits for. A message counts while the disk has something to lose. */
const BAITS: readonly { readonly what: string; readonly bait: Bait }[] = [
  {
    what: 'asks for a vote',
    bait: (_, what) => what.kind === 'vote' && 'pre' in what && 'last' in what && !what.pre,
  },
  { what: 'grants a vote', bait: (_, what) => what.kind === 'voteReply' && what.granted && !what.pre },
  { what: 'acknowledges', bait: (_, what) => what.kind === 'appendReply' },
  { what: 'sends entries', bait: (_, what) => what.kind === 'append' && what.entries.length > 0 },
  {
    what: 'says anything with a write outstanding',
    bait: (node, what) => 'round' in what && node.disk.outstanding > 0,
  },
  { what: 'wins', bait: (_, what) => what.kind === 'role' && what.to === 'leader' },
  { what: 'stands for election', bait: (_, what) => what.kind === 'role' && what.to === 'candidate' },
  { what: 'commits', bait: (_, what) => what.kind === 'commit' },
  { what: 'drops entries', bait: (_, what) => what.kind === 'truncate' },
  { what: 'takes a snapshot over', bait: (node, what) => what.kind === 'snapshot' && what.peer !== node.id },
];

/** Crashes a node right after it has said or done something, with its disk still busy; at times again and again. */
export function trap(trouble: Trouble): string {
  const { random, world } = trouble;
  const target = random.chance(0.5) ? undefined : trouble.victim();
  const { what, bait } = pick(random, BAITS);
  let left = pick(random, [1, 1, 2, 5]);
  const share = pick(random, [1, 1, 0.3]);
  const springs = (node: SimNode, seen: Message | Event): boolean => {
    if (left <= 0 || (target !== undefined && node !== target) || !bait(node, seen)) return false;
    if (!random.chance(share)) return false;
    left -= 1;
    if (left === 0) world.watchers.delete(watcher);
    trouble.count('trap');
    world.observer.probes.add('crash right after a message left');
    if (seen.kind === 'vote') world.observer.probes.add('crash right after a vote was asked for');
    trouble.later(0, () => restartLater(trouble, node));
    return true;
  };
  const watcher: Watcher = { sent: springs, event: springs };
  world.watchers.add(watcher);
  trouble.later(trouble.span(30), () => world.watchers.delete(watcher));
  return `crash ${target === undefined ? 'whoever' : `n${target.id} when it`} ${what}`;
}

/** Disks become slow. */
export function slowDisk(trouble: Trouble): string {
  const nodes = trouble.some(0.4);
  const spanMs = trouble.span(2);
  const forMs = trouble.span(10);
  trouble.count('slow disk');
  for (const node of nodes) {
    node.sync = { minMs: spanMs / 4, spanMs };
    trouble.later(forMs, () => {
      node.sync = trouble.world.plan.sync;
    });
  }
  return `slow disks of ${names(nodes)}: up to ${Math.round(spanMs)} ms for ${Math.round(forMs)} ms`;
}

/** The syncs of a disk do not end for a while. */
export function stuckDisk(trouble: Trouble): string {
  const node = trouble.victim();
  const forMs = trouble.span(6);
  trouble.count('stuck disk');
  node.isStuck = true;
  trouble.later(forMs, () => {
    node.isStuck = false;
    trouble.world.sync(node);
  });
  return `stop the disk of n${node.id} for ${Math.round(forMs)} ms`;
}

/** The next sync of a disk fails; later somebody replaces the machine around it. */
export function failingDisk(trouble: Trouble): string {
  const node = trouble.victim();
  trouble.count('failing disk');
  node.isDoomed = node.raft !== undefined;
  trouble.later(trouble.span(10), () => {
    node.isDoomed = false;
    if (node.hasFailed) crashNode(trouble, node);
  });
  return `fail the next sync of n${node.id}`;
}

/** A node stands still; at times a client asks it first when it wakes. */
export function pause(trouble: Trouble): string {
  const { random, world } = trouble;
  const node = trouble.victim();
  const forMs = trouble.span(8);
  const timersFirst = random.chance(0.5);
  const asks = random.chance(0.5);
  const termsWon = world.checker.termsWon;
  trouble.count('pause');
  world.pause(node);
  trouble.later(forMs * (1 - random.ratio() ** 4), () => {
    if (asks && node.isPaused) world.ask(node, 'read', 1, 0);
  });
  trouble.later(forMs, () => {
    if (world.checker.termsWon > termsWon) world.observer.probes.add('paused past an election');
    world.resume(node, timersFirst);
  });
  return `pause n${node.id} for ${Math.round(forMs)} ms`;
}

/** A clock runs fast or slow from now on. */
export function clock(trouble: Trouble): string {
  const node = trouble.victim();
  const rate = trouble.clockRate();
  trouble.count('clock');
  node.setRate(trouble.world.time.nowMs, rate);
  trouble.world.observer.probes.add('clocks run unevenly');
  return `the clock of n${node.id} runs at ${rate.toFixed(3)}`;
}

/** Nodes take snapshots and forget their logs. */
export function compact(trouble: Trouble): string {
  const nodes = trouble.some(0.5);
  const keeps = pick(trouble.random, [0, 0, 1, 5]);
  trouble.count('compact');
  for (const node of nodes) trouble.world.compact(node, keeps);
  return `compact ${names(nodes)}`;
}

/** Somebody tells nodes to stand for election. */
export function campaign(trouble: Trouble): string {
  const { random, world } = trouble;
  const nodes = random.chance(0.6) ? [trouble.victim()] : trouble.some(0.5);
  trouble.count('campaign');
  for (const node of nodes) {
    if (node.role === 'leader') world.observer.probes.add('leader asked to campaign');
    world.give(node, { kind: 'campaign' });
  }
  return `tell ${names(nodes)} to campaign`;
}

/** A leader is told that its connection to a peer broke. */
export function unreachable(trouble: Trouble): string {
  const { world, random } = trouble;
  const node = trouble.victim();
  const peers = world.nodes.filter((other) => other !== node);
  if (peers.length === 0) return 'nobody to lose touch with';
  const peer = pick(random, peers);
  trouble.count('unreachable');
  for (let i = random.int(1, 5); i > 0; i--)
    trouble.later(trouble.span(2), () => world.give(node, { kind: 'unreachable', peer: peer.id }));
  return `tell n${node.id} that n${peer.id} is out of reach`;
}

/** Many requests at once, to everybody who may lead. */
export function burst(trouble: Trouble): string {
  const { random, world } = trouble;
  const count = random.int(3, 20);
  trouble.count('burst');
  for (const node of world.nodes) {
    if (node.role !== 'leader' && !random.chance(0.2)) continue;
    world.ask(node, 'propose', count, random.int(4, world.plan.payloadBytesMax));
    if (random.chance(0.5)) world.ask(node, 'read', random.int(1, 4), 0);
  }
  return `a burst of ${count} requests`;
}
