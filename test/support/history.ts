/**
 * A history of operations on keys, each write with a value of its own, and its judge: whether every key behaved as one
 * register on which operations took effect one after the other (Gibbons and Korach, "Testing Shared Memories", 1997).
 *
 * A write and the reads that saw it form a cluster, with f the earliest end and s the latest beginning among them. With
 * f < s the register certainly held this value from f to s; otherwise the cluster fits anywhere within [s, f]. The
 * history is linearizable if and only if no two certain intervals overlap and no other cluster lies within one.
 */

export interface Operation {
  readonly key: string;
  /** For a read: the value seen; undefined for none. */
  readonly kind: 'write' | 'read';
  readonly value: string | undefined;
  readonly beganOrder: number;
  /** Infinity for a write of which nobody knows. */
  readonly endedOrder: number;
}

interface Cluster {
  readonly value: string | undefined;
  readonly writeBegan: number;
  firstEnd: number;
  lastBegin: number;
  isRead: boolean;
}

/** What is wrong with a history; undefined when nothing is. Writes that certainly failed must not be in it. */
export function judge(operations: readonly Operation[]): string | undefined {
  const keys = new Set(operations.map((operation) => operation.key));
  for (const key of keys) {
    const fault = judgeKey(operations.filter((operation) => operation.key === key));
    if (fault !== undefined) return `${key}: ${fault}`;
  }
  return undefined;
}

function judgeKey(operations: readonly Operation[]): string | undefined {
  const absent: Cluster = {
    value: undefined,
    writeBegan: -2,
    firstEnd: -1,
    lastBegin: -2,
    isRead: true,
  };
  const clusters = new Map<string | undefined, Cluster>([[undefined, absent]]);
  for (const { kind, value, beganOrder, endedOrder } of operations) {
    if (kind !== 'write') continue;
    if (clusters.has(value)) return `value ${value} was written twice`;
    clusters.set(value, {
      value,
      writeBegan: beganOrder,
      firstEnd: endedOrder,
      lastBegin: beganOrder,
      isRead: Number.isFinite(endedOrder),
    });
  }
  for (const { kind, value, beganOrder, endedOrder } of operations) {
    if (kind !== 'read') continue;
    const cluster = clusters.get(value);
    if (cluster === undefined) return `${value} was read but never written, or its write certainly failed`;
    if (endedOrder < cluster.writeBegan) return `${value} was read before it was written`;
    cluster.firstEnd = Math.min(cluster.firstEnd, endedOrder);
    cluster.lastBegin = Math.max(cluster.lastBegin, beganOrder);
    cluster.isRead = true;
  }
  // A write of unknown outcome that nobody saw may never have happened.
  return judgeClusters([...clusters.values()].filter((cluster) => cluster.isRead));
}

function judgeClusters(clusters: readonly Cluster[]): string | undefined {
  const certain = clusters.filter((cluster) => cluster.firstEnd < cluster.lastBegin);
  const sorted = certain.toSorted((a, b) => a.firstEnd - b.firstEnd);
  for (const [i, cluster] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next !== undefined && next.firstEnd < cluster.lastBegin)
      return `${nameOf(cluster)} and ${nameOf(next)} were both held at ${next.firstEnd}`;
  }
  for (const cluster of clusters) {
    if (cluster.firstEnd < cluster.lastBegin) continue;
    const holder = certain.find(
      (other) => other.firstEnd < cluster.lastBegin && cluster.firstEnd < other.lastBegin,
    );
    if (holder !== undefined)
      return `${nameOf(cluster)} was written and gone while ${nameOf(holder)} was held all the time`;
  }
  return undefined;
}

function nameOf({ value }: Cluster): string {
  return value ?? 'absence';
}
