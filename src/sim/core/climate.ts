/** Disturbances that last for the whole run, and those that change how a reject is told. */
import { unreachable } from '../../lib/assert.ts';
import { type CLIMATES, pick } from './plan.ts';
import type { Trouble } from './trouble.ts';

/** Sets what lasts until the run heals. */
export function setClimate(kind: (typeof CLIMATES)[number], trouble: Trouble): string {
  const { world, random } = trouble;
  const { all } = world.post.links;
  trouble.count(kind);
  switch (kind) {
    case 'losing links': {
      const share = random.ratio() * pick(random, [0.02, 0.1, 0.3]);
      for (const link of all) link.loss += share;
      return `every link loses ${(share * 100).toFixed(1)} %`;
    }
    case 'doubling links': {
      const share = random.ratio() * pick(random, [0.05, 0.3, 0.8]);
      for (const link of all) link.doubling += share;
      return `every link doubles ${(share * 100).toFixed(1)} %`;
    }
    case 'slow links': {
      const spanMs = trouble.span(0.7);
      for (const link of all) link.spanMs += spanMs * random.ratio();
      return `links are slower by up to ${Math.round(spanMs)} ms`;
    }
    case 'slow disks': {
      const slowest = { minMs: trouble.span(0.1), spanMs: trouble.span(0.6) };
      for (const node of trouble.some(0.5)) node.sync = slowest;
      return `some disks take up to ${Math.round(slowest.minMs + slowest.spanMs)} ms`;
    }
    case 'uneven clocks':
      for (const node of world.nodes) node.setRate(world.time.nowMs, trouble.clockRate());
      world.observer.probes.add('clocks run unevenly');
      return 'every clock runs at its own rate';
    case 'lowered hints':
      world.post.hintLowering = random.ratio();
      return `${Math.round(world.post.hintLowering * 100)} % of rejects hint further back`;
    case 'late timers':
      world.timerLateMs = trouble.span(0.3);
      return `timers come up to ${Math.round(world.timerLateMs)} ms late`;
    case 'late reports':
      world.reportLateness = random.ratio() * 0.8;
      return `${Math.round(world.reportLateness * 100)} % of reports of a sync are kept for the next`;
    default:
      return unreachable(kind);
  }
}

/** For a while rejects hint further back. */
export function lowerHints(trouble: Trouble): string {
  const { world } = trouble;
  const before = world.post.hintLowering;
  const forMs = trouble.span(10);
  trouble.count('hints');
  world.post.hintLowering = 0.3 + 0.7 * trouble.random.ratio();
  trouble.later(forMs, () => {
    world.post.hintLowering = before;
  });
  return `rejects hint further back for ${Math.round(forMs)} ms`;
}
