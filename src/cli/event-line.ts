/** Events of a cluster as log lines with the time of day, for the commands that run as servers. */
import type { ClusterEvent } from '../cluster/view.ts';

/**
 * `2026-01-31T12:00:00.000Z n2 candidate ⇒ leader in term 1: …`; undefined for events that only fill a log.
 *
 * @param startedMs the time of day, in milliseconds, from which the event counts
 */
export function eventLine(event: ClusterEvent, startedMs: number): string | undefined {
  if (event.level > 1) return undefined;
  const who = event.node === 0 ? '' : `n${event.node} `;
  return `${new Date(startedMs + event.atMs).toISOString()} ${who}${event.text}`;
}
