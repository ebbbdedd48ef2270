/** Disturbances of the network: links that lose, double, delay, hold back or cut, and old messages that come again. */
import type { Role } from '../../raft/messages.ts';
import type { Link, MessageKind } from './links.ts';
import { pick } from './plan.ts';
import { type Trouble, names } from './trouble.ts';
import type { Watcher } from './world.ts';

const MUTES: readonly { readonly what: string; readonly kinds: readonly MessageKind[] }[] = [
  { what: 'only heartbeats pass', kinds: ['append', 'appendReply', 'appendReject', 'vote', 'voteReply'] },
  { what: 'no appends pass', kinds: ['append'] },
  { what: 'no acknowledgements pass', kinds: ['appendReply'] },
  { what: 'no rejects pass', kinds: ['appendReject'] },
  { what: 'no heartbeats pass', kinds: ['heartbeat', 'heartbeatReply'] },
  { what: 'no votes pass', kinds: ['voteReply'] },
  { what: 'no replies pass', kinds: ['appendReply', 'appendReject', 'heartbeatReply', 'voteReply'] },
];

/** Cuts links in one of the shapes that real networks break in. */
export function partition(trouble: Trouble): string {
  const { cut, what } = shapeOf(trouble);
  const links = trouble.world.post.links.all.filter(cut);
  const forMs = trouble.span(12);
  trouble.count('partition');
  if (trouble.random.chance(0.2)) {
    const flapMs = trouble.unitMs * (0.1 + trouble.random.ratio());
    flap(trouble, links, flapMs, Math.ceil(forMs / flapMs));
    return `flapping: ${what}, for ${Math.round(forMs)} ms`;
  }
  trouble.onLinks(links, forMs, (link, by) => {
    link.cuts += by;
  });
  return `${what}, for ${Math.round(forMs)} ms`;
}

/** Some kinds of message do not pass. */
export function mute(trouble: Trouble): string {
  const { links, where } = trouble.someLinks();
  const { what, kinds } = pick(trouble.random, MUTES);
  const forMs = trouble.span(8);
  trouble.count('mute');
  trouble.onLinks(links, forMs, (link, by) => {
    for (const kind of kinds) link.mute(kind, by);
  });
  return `${what} on ${where} for ${Math.round(forMs)} ms`;
}

/** Messages are lost. */
export function lose(trouble: Trouble): string {
  const { links, where } = trouble.someLinks();
  const share = trouble.random.ratio() * pick(trouble.random, [0.2, 0.5, 0.9]);
  const forMs = trouble.span(10);
  trouble.count('lose');
  trouble.onLinks(links, forMs, (link, by) => {
    link.loss = Math.max(0, link.loss + by * share);
  });
  return `lose ${Math.round(share * 100)} % on ${where} for ${Math.round(forMs)} ms`;
}

/** Messages come twice. */
export function double(trouble: Trouble): string {
  const { links, where } = trouble.someLinks();
  const share = trouble.random.ratio();
  const forMs = trouble.span(10);
  trouble.count('double');
  trouble.onLinks(links, forMs, (link, by) => {
    link.doubling = Math.max(0, link.doubling + by * share);
  });
  return `double ${Math.round(share * 100)} % on ${where} for ${Math.round(forMs)} ms`;
}

/** Messages take longer, some much longer. */
export function delay(trouble: Trouble): string {
  const { links, where } = trouble.someLinks();
  const spanMs = trouble.span(3);
  const forMs = trouble.span(10);
  trouble.count('delay');
  trouble.onLinks(links, forMs, (link, by) => {
    link.spanMs = Math.max(0, link.spanMs + by * spanMs);
  });
  return `delay by up to ${Math.round(spanMs)} ms on ${where} for ${Math.round(forMs)} ms`;
}

/** Messages wait, and all come in the end. */
export function hold(trouble: Trouble): string {
  const { links, where } = trouble.someLinks();
  const forMs = trouble.span(6);
  trouble.count('hold');
  trouble.onLinks(links, forMs, (link, by) => {
    link.holds += by;
    if (link.holds > 0) return;
    if (link.held.length > 0) trouble.world.observer.probes.add('messages held back and released');
    link.letGo();
  });
  return `hold back ${where} for ${Math.round(forMs)} ms`;
}

const REPLAYED: readonly MessageKind[] = [
  'append',
  'appendReply',
  'appendReject',
  'voteReply',
  'vote',
  'heartbeatReply',
  'timeoutNow',
  'readReply',
];

/** Messages of the past come again. */
export function replay(trouble: Trouble): string {
  const { random, world } = trouble;
  const count = random.int(1, 24);
  const kind = pick(random, REPLAYED);
  const chosen = world.post.recent(kind);
  if (chosen.length === 0) return 'nothing to replay';
  trouble.count('replay');
  world.observer.probes.add('old message replayed');
  for (let i = 0; i < count; i++) world.post.carry(pick(random, chosen), trouble.span(2));
  return `replay ${count} old messages (${kind})`;
}

/** What was once said to a node comes again just when it has a new role in which it might believe it. */
export function echo(trouble: Trouble): string {
  const { random, world } = trouble;
  const forMs = trouble.span(30);
  const watcher: Watcher = {
    sent: () => false,
    event: (node, event) => {
      if (event.kind !== 'role') return false;
      for (const kind of ECHOED[event.to]) {
        const chosen = world.post.recent(kind).filter(({ to }) => to === node.id);
        for (let i = Math.min(chosen.length, random.int(0, 6)); i > 0; i--)
          world.post.carry(pick(random, chosen), trouble.span(0.3));
      }
      return false;
    },
  };
  trouble.count('echo');
  world.watchers.add(watcher);
  trouble.later(forMs, () => world.watchers.delete(watcher));
  return `new roles meet old messages for ${Math.round(forMs)} ms`;
}

/** What each role listens to. */
const ECHOED: Readonly<Record<Role, readonly MessageKind[]>> = {
  follower: ['append', 'heartbeat', 'timeoutNow'],
  preCandidate: ['voteReply'],
  candidate: ['voteReply'],
  leader: ['appendReply', 'appendReject', 'heartbeatReply'],
};

function shapeOf(trouble: Trouble): { readonly cut: (link: Link) => boolean; readonly what: string } {
  const { random, world } = trouble;
  const count = world.nodes.length;
  const { id } = trouble.victim();
  switch (random.int(0, 6)) {
    case 0:
      return { cut: ({ from, to }) => from === id || to === id, what: `isolate n${id}` };
    case 1:
      return { cut: ({ from }) => from === id, what: `silence n${id}` };
    case 2:
      return { cut: ({ to }) => to === id, what: `deafen n${id}` };
    case 3: {
      // Both halves see one node and not each other.
      const other = ({ from, to }: Link): boolean => from !== id && to !== id;
      const side = (node: number): boolean => (node + id) % 2 === 0;
      return { cut: (link) => other(link) && side(link.from) !== side(link.to), what: `bridge over n${id}` };
    }
    case 4:
      // Each sees its neighbours on a ring: a majority, and no two the same.
      return {
        cut: ({ from, to }) => {
          const apart = Math.abs(from - to);
          return Math.min(apart, count - apart) > Math.max(1, Math.floor(count / 4));
        },
        what: 'a ring of overlapping majorities',
      };
    case 5: {
      const lost = new Set(world.post.links.all.filter(() => random.chance(0.3)));
      return { cut: (link) => lost.has(link), what: `cut ${lost.size} links at random` };
    }
    default: {
      const left = new Set(trouble.some(0.5).map((node) => node.id));
      const group = world.nodes.filter((node) => left.has(node.id));
      return {
        cut: ({ from, to }) => left.has(from) !== left.has(to),
        what: `cut ${names(group)} from the others`,
      };
    }
  }
}

function flap(trouble: Trouble, links: readonly Link[], everyMs: number, times: number): void {
  if (times <= 0) return;
  trouble.onLinks(links, everyMs * trouble.random.ratio(), (link, by) => {
    link.cuts += by;
  });
  trouble.later(everyMs, () => flap(trouble, links, everyMs, times - 1));
}
