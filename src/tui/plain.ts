/** Events as lines, for pipes, scripts, screen readers and terminals that cannot place text. */
import type { ClusterHandle } from '../cluster/api.ts';
import type { ClusterEvent, EventLevel } from '../cluster/view.ts';
import { sanitize } from '../lib/text.ts';
import { seconds, whoOf } from './panels/format.ts';

/** Lines that wait for a slow reader; more are dropped and counted. */
const WAITING_MAX = 1000;

/** Where lines go: `process.stdout` is one. */
export interface LineOutput {
  /** @returns false when the reader is behind; `drain` follows */
  write(text: string): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

export interface PlainOptions {
  /** JSON lines instead of text. */
  readonly json: boolean;
  readonly out: LineOutput;
  /** Events above this level are left out. Default 1; for JSON 3. */
  readonly level?: EventLevel;
}

/** Writes a line for every event from now on. @returns stops it */
export function runPlain(cluster: ClusterHandle, options: PlainOptions): () => void {
  const { json, out } = options;
  const level = options.level ?? (json ? 3 : 1);
  const waiting: string[] = [];
  let droppedCount = 0;
  let isBlocked = false;

  /** @returns whether another line may follow at once */
  const send = (line: string): boolean => {
    isBlocked = !out.write(`${line}\n`);
    if (isBlocked) out.once('drain', drain);
    return !isBlocked;
  };
  const drain = (): void => {
    isBlocked = false;
    for (let line = waiting.shift(); line !== undefined; line = waiting.shift()) if (!send(line)) return;
    if (droppedCount === 0) return;
    const count = droppedCount;
    droppedCount = 0;
    send(json ? JSON.stringify({ dropped: count }) : `${count} events dropped: the reader was too slow`);
  };
  return cluster.onEvent((event) => {
    if (event.level > level) return;
    const line = json ? jsonLine(event) : plainLine(event);
    if (!isBlocked) send(line);
    else if (waiting.length < WAITING_MAX) waiting.push(line);
    else droppedCount += 1;
  });
}

/** `12.480 n3 commit 8: acknowledged by n3 n4 n5`. Holds no control characters. */
export function plainLine(event: ClusterEvent): string {
  return `${seconds(event.atMs)} ${whoOf(event)} ${sanitize(event.text)}`;
}

/** The event as JSON in ASCII: every byte of the data is kept, and none can act on a terminal. */
export function jsonLine(event: ClusterEvent): string {
  const { atMs, node, level, kind, text } = event;
  return JSON.stringify({ atMs, node, level, kind, text }).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
