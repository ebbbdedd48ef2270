/**
 * The quick judge of one key that was only set and read, each value set once: no search, O(n log n) (Gibbons and Korach,
 * "Testing Shared Memories", 1997).
 *
 * A write and the reads that saw it form a cluster, with f the earliest end and s the latest beginning among them. With
 * f < s the key certainly held this value from f to s; otherwise the cluster fits anywhere within [s, f], and one that
 * need not happen, whose f is infinite, conflicts with nothing. There is an
 * order if and only if no two certain intervals overlap and no other cluster lies within one.
 */
import { at } from '../lib/assert.ts';
import { type Move, type Moves, OPEN } from './linear-moves.ts';

/** What the quick judge found. */
export type RegisterVerdict =
  /** Not what this judge is for: several keys, conditions, deletions, or a value that was set twice. */
  | { readonly kind: 'inapplicable' }
  | { readonly kind: 'linearizable' }
  /** These moves alone, as indexes, have no order. */
  | { readonly kind: 'violation'; readonly culprits: readonly number[] };

/** Judges in time O(n log n). */
export function judgeRegister({ keys, moves, first }: Moves): RegisterVerdict {
  if (keys.length !== 1 || at(first, 0) === OPEN) return { kind: 'inapplicable' };
  // What the key held at first was written before everything.
  const initial: Cluster = { write: undefined, firstEnd: -1, lastStart: -2, members: [] };
  const clusters = new Map<number, Cluster>([[at(first, 0), initial]]);
  for (const [index, move] of moves.entries()) {
    const [deed, ...others] = move.deeds;
    if (deed === undefined || others.length > 0) return { kind: 'inapplicable' };
    if (deed.kind === 'require') continue;
    if (deed.kind !== 'write' || clusters.has(deed.pair)) return { kind: 'inapplicable' };
    clusters.set(deed.pair, clusterOf(index, move));
  }
  for (const [index, move] of moves.entries()) {
    const [deed] = move.deeds;
    if (deed?.kind !== 'require') continue;
    const cluster = clusters.get(deed.pair);
    if (cluster === undefined) return { kind: 'violation', culprits: [index] };
    if (cluster.write !== undefined && move.end < at(moves, cluster.write).start)
      return { kind: 'violation', culprits: [cluster.write, index] };
    join(cluster, index, move, moves);
  }
  const culprits = conflict([...clusters.values()]);
  return culprits === undefined ? { kind: 'linearizable' } : { kind: 'violation', culprits };
}

interface Cluster {
  readonly write: number | undefined;
  firstEnd: number;
  lastStart: number;
  /** The write and the moves that `firstEnd` and `lastStart` come from. */
  members: readonly number[];
}

function clusterOf(index: number, { start, end }: Move): Cluster {
  return { write: index, firstEnd: end, lastStart: start, members: [index] };
}

function join(cluster: Cluster, index: number, { start, end }: Move, moves: readonly Move[]): void {
  if (end >= cluster.firstEnd && start <= cluster.lastStart) return;
  cluster.firstEnd = Math.min(cluster.firstEnd, end);
  cluster.lastStart = Math.max(cluster.lastStart, start);
  const { firstEnd, lastStart, write } = cluster;
  cluster.members = [...cluster.members, index].filter((member) => {
    const move = at(moves, member);
    return member === write || move.end === firstEnd || move.start === lastStart;
  });
}

/** The members of two clusters that exclude each other. */
function conflict(clusters: readonly Cluster[]): readonly number[] | undefined {
  const certain = clusters.filter(({ firstEnd, lastStart }) => firstEnd < lastStart);
  certain.sort((a, b) => a.firstEnd - b.firstEnd);
  for (const [i, cluster] of certain.entries()) {
    const next = certain[i + 1];
    if (next !== undefined && next.firstEnd < cluster.lastStart) return [...cluster.members, ...next.members];
  }
  for (const cluster of clusters) {
    if (cluster.firstEnd < cluster.lastStart) continue;
    const holder = lastBefore(certain, cluster.lastStart);
    if (holder !== undefined && cluster.firstEnd < holder.lastStart)
      return [...cluster.members, ...holder.members];
  }
  return undefined;
}

/** The last of these disjoint intervals that begins before this place. */
function lastBefore(certain: readonly Cluster[], place: number): Cluster | undefined {
  let low = 0;
  let high = certain.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(certain, middle).firstEnd < place) low = middle + 1;
    else high = middle;
  }
  return certain[low - 1];
}
