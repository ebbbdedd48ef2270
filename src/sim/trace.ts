/** A run as text: a readable line for everything that happens. Pure; called only when somebody reads. */
import { unreachable } from '../lib/assert.ts';
import { displayText } from '../lib/bytes.ts';
import { decodeFrame } from '../net/codec.ts';
import type { Envelope, Request } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import type { HostResult } from './host.ts';

/** Longer values are told by their length. */
const SHOWN_MAX = 40;

/** What the scheduler tells of. */
export type TraceEvent =
  | { readonly kind: 'remark'; readonly what: string }
  | { readonly kind: 'start'; readonly node: NodeId; readonly life: number }
  | { readonly kind: 'frame'; readonly from: NodeId; readonly to: NodeId; readonly bytes: Uint8Array }
  | { readonly kind: 'request'; readonly node: NodeId; readonly id: number; readonly request: Request }
  | {
      readonly kind: 'turn';
      readonly node: NodeId;
      readonly frames: readonly unknown[];
      readonly requests: readonly unknown[];
      readonly connected: readonly NodeId[];
      readonly isTimersOnly: boolean;
    }
  | {
      readonly kind: 'result';
      readonly node: NodeId;
      readonly result: Exclude<HostResult, { readonly kind: 'done' }>;
    };

/** The lines for one event, without line ends. */
export function describeTrace(atMs: number, event: TraceEvent): readonly string[] {
  switch (event.kind) {
    case 'remark':
      return [traceLine(atMs, '***', event.what)];
    case 'start':
      return [traceLine(atMs, `n${event.node}`, `starts for the ${event.life}. time`)];
    case 'frame': {
      const envelopes = decodeFrame(event.bytes) ?? [];
      return [traceLine(atMs, `n${event.from}→n${event.to}`, envelopes.map(describeEnvelope).join('; '))];
    }
    case 'request':
      return [traceLine(atMs, `n${event.node}`, `is asked ${inWords(event.request)} (#${event.id})`)];
    case 'turn':
      return event.isTimersOnly
        ? [traceLine(atMs, `n${event.node}`, 'wakes up, timers first')]
        : event.connected.map((peer) =>
            traceLine(atMs, `n${event.node}`, `has a new connection to n${peer}`),
          );
    case 'result':
      return describeResult(atMs, event.node, event.result);
    default:
      return unreachable(event);
  }
}

/** One line: when, who, what. */
export function traceLine(atMs: number, who: string, what: string): string {
  return `${atMs.toFixed(3).padStart(10)}  ${who.padEnd(6)} ${what}`;
}

function describeResult(
  atMs: number,
  node: NodeId,
  result: Exclude<HostResult, { readonly kind: 'done' }>,
): readonly string[] {
  const lines: string[] = [];
  if (result.kind === 'up') {
    for (const { text } of result.events) lines.push(traceLine(atMs, `n${node}`, text));
    const { cutAfter, appended, raft } = result.seen;
    if (cutAfter !== undefined || appended.length > 0) {
      const { role, term, commit, last } = raft;
      lines.push(
        traceLine(
          atMs,
          `n${node}`,
          `${role} of term ${term} has its log up to ${last.index}@${last.term}, committed ${commit}`,
        ),
      );
    }
  }
  for (const { id, reply } of result.replies)
    lines.push(traceLine(atMs, `n${node}`, `answers #${id}: ${inWords(reply)}`));
  if (result.kind === 'down') lines.push(traceLine(atMs, `n${node}`, `is down: ${result.reason}`));
  return lines;
}

function describeEnvelope(envelope: Envelope): string {
  if (envelope.kind !== 'raft') return inWords(envelope);
  const { from: _from, to: _to, ...rest } = envelope.message;
  return inWords(rest);
}

/** A message of any kind as its kind and its fields, each by its name. */
function inWords(message: { readonly kind: string }): string {
  const words: string[] = [];
  for (const [name, value] of Object.entries(message))
    words.push(name === 'kind' ? message.kind : `${name} ${shown(value)}`);
  return words.join(' ');
}

function shown(value: unknown): string {
  if (value instanceof Uint8Array)
    return value.length > SHOWN_MAX ? `${value.length} bytes` : displayText(value);
  if (Array.isArray(value)) return `[${value.length}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  if ('index' in value && 'term' in value) return `${String(value.index)}@${String(value.term)}`;
  if ('kind' in value && typeof value.kind === 'string')
    return `(${inWords({ ...value, kind: value.kind })})`;
  return JSON.stringify(value);
}
