/** What a node tells of itself: its account for screens and `status`, and events in words. It only reads. */
import { unreachable } from '../lib/assert.ts';
import { displayText, fromLatin1 } from '../lib/bytes.ts';
import { describeCommand } from '../kv/describe.ts';
import type { StateMachine } from '../kv/state-machine.ts';
import type { MemberStanding, NodeStatus } from '../net/protocol.ts';
import type { Entry } from '../raft/entry.ts';
import { decodeConfig, describeConfig, membersOf } from '../raft/membership.ts';
import type { Event, LogPosition, ProgressMode, Role } from '../raft/messages.ts';
import type { Raft } from '../raft/raft.ts';
import type { EngineStats } from '../storage/version-engine.ts';
import { standingOf } from './members.ts';

export interface LogCell {
  readonly index: number;
  readonly term: number;
  /** The command in a few words: `x=5`, `del x`, `no-op`. */
  readonly summary: string;
}

/** A member, as the node that tells it knows the members. */
export interface MemberView {
  readonly id: number;
  readonly standing: MemberStanding;
}

export interface PeerView {
  readonly id: number;
  readonly mode: ProgressMode;
  readonly match: number;
  readonly next: number;
}

/** The last account a node gave of itself. Stale while the node is frozen or crashed. */
export interface NodeAccount {
  readonly role: Role;
  readonly term: number;
  /** Node voted for in this term; 0 for nobody. */
  readonly vote: number;
  /** Leader as this node knows it; 0 for none. */
  readonly leader: number;
  readonly commit: number;
  readonly applied: number;
  /** First index still in the log (behind a snapshot it is above 1). */
  readonly first: number;
  readonly last: number;
  /** Until the election timer (follower, candidate) or the heartbeat timer (leader) fires; may be negative. */
  readonly timerMs: number;
  /** The whole timer, for a bar. */
  readonly timerTotalMs: number;
  readonly peers: readonly PeerView[];
  /** To whom this leader hands over; 0 for nobody. */
  readonly transferTo: number;
  /** How long this leader may still read without asking; 0 without a lease. */
  readonly leaseMs: number;
  /** The configuration in effect on this node, by id, and where it stands in the log. Empty while it waits to be added. */
  readonly members: readonly MemberView[];
  readonly configIndex: number;
  /** The newest entries of the log, oldest first; at most 16. */
  readonly log: readonly LogCell[];
  readonly walBytes: number;
  readonly snapshotIndex: number;
  readonly storage: 'ok' | 'full' | 'failed';
  /** Of the last write that was applied, and the oldest at which the store can still be read. */
  readonly revision: number;
  readonly compactedRevision: number;
  readonly engine: EngineStats;
  /** Number of keys, and the most recently written of them with display text, newest first; at most 12. */
  readonly keyCount: number;
  readonly keys: readonly { readonly key: string; readonly value: string }[];
}

/** What a simulator looks at after every turn. */
export interface Glance extends Pick<NodeStatus, 'raft' | 'storage' | 'snapshotIndex'> {
  /** The end of what the log has let go. */
  readonly base: LogPosition;
  /** It has lost a part of its log, and takes part in no election until that is made good. */
  readonly isAbstaining: boolean;
}

/** 0 user action, 1 role, term, crash, 2 commit and truncation, 3 refusals and drops. */
export type EventLevel = 0 | 1 | 2 | 3;

/** Something that happened on this node, in one sentence. Not sanitized. */
export interface NodeEvent {
  /** On the clock of the node's turns. */
  readonly atMs: number;
  readonly level: EventLevel;
  readonly kind: string;
  readonly text: string;
}

const CELLS_MAX = 16;
const KEYS_MAX = 12;
const VALUE_CHARACTERS_MAX = 24;

/** The account of a node at `nowMs`, on the clock of its core. */
export function accountOf(node: {
  readonly raft: Raft;
  readonly machine: StateMachine;
  readonly keys: NodeAccount['keys'];
  readonly nowMs: number;
  readonly timerTotalMs: number;
  readonly walBytes: number;
  readonly snapshotIndex: number;
  readonly storage: 'ok' | 'full' | 'failed';
  readonly engine: EngineStats;
}): NodeAccount {
  const { status } = node.raft;
  return {
    role: status.role,
    term: status.term,
    vote: status.vote,
    leader: status.leader,
    commit: status.commit,
    applied: status.applied,
    first: status.first,
    last: status.last.index,
    timerMs: Number.isFinite(status.deadlineMs) ? status.deadlineMs - node.nowMs : 0,
    timerTotalMs: node.timerTotalMs,
    peers: status.peers,
    transferTo: status.transferTo,
    leaseMs: Math.max(0, status.leaseUntilMs - node.nowMs),
    members: membersOf(status.config).map((id) => ({ id, standing: standingOf(status.config, id) })),
    configIndex: status.configIndex,
    log: node.raft.tail(CELLS_MAX).map((entry) => ({
      index: entry.index,
      term: entry.term,
      summary: summaryOf(entry),
    })),
    walBytes: node.walBytes,
    snapshotIndex: node.snapshotIndex,
    storage: node.storage,
    revision: node.machine.revision,
    compactedRevision: node.machine.compactedRevision,
    engine: node.engine,
    keyCount: node.machine.count,
    keys: node.keys,
  };
}

/** The keys that were written last and their values, as text for a screen. Throws what the engine throws. */
export function recentRows(machine: StateMachine): NodeAccount['keys'] {
  return machine.recentKeys(KEYS_MAX).map((key) => ({
    key: shorten(displayText(fromLatin1(key))),
    value: shorten(
      displayText((machine.get(key) ?? new Uint8Array(0)).subarray(0, 4 * VALUE_CHARACTERS_MAX)),
    ),
  }));
}

/** An event of the core in words. @param isLeader whether it happened on a leader: what all nodes are told, one may tell */
export function describeEvent(event: Event, isLeader: boolean): Omit<NodeEvent, 'atMs'> {
  switch (event.kind) {
    case 'role':
      return {
        level: 1,
        kind: 'role',
        text: `${event.from} ⇒ ${event.to} in term ${event.term}: ${event.why}`,
      };
    case 'term':
      return { level: 1, kind: 'term', text: `moves to term ${event.term}: ${event.why}` };
    case 'vote': {
      const verb = event.granted ? 'grants' : 'refuses';
      const what = event.pre ? 'pre-vote' : 'vote';
      return {
        level: 1,
        kind: 'vote',
        text: `${verb} n${event.candidate} its ${what} for term ${event.term}: ${event.why}`,
      };
    }
    case 'commit':
      return { level: 2, kind: 'commit', text: `commits up to ${event.index}: ${event.why}` };
    case 'config':
      return {
        level: isLeader ? 1 : 2,
        kind: 'config',
        text: `configuration at ${event.index} ${CONFIG_PHASES[event.phase]}: ${event.why}`,
      };
    case 'transfer':
      return { level: 1, kind: 'transfer', text: `leadership to n${event.to}: ${event.why}` };
    case 'quiesce':
      return {
        level: 2,
        kind: 'quiesce',
        text: `${event.isQuiesced ? 'falls asleep' : 'wakes'}: ${event.why}`,
      };
    case 'stall':
      return { level: 1, kind: 'stall', text: event.why };
    case 'whole':
      return { level: 1, kind: 'whole', text: `votes again: ${event.why}` };
    case 'truncate':
      return { level: 2, kind: 'truncate', text: `drops its log behind ${event.after}: ${event.why}` };
    case 'reject':
      return { level: 3, kind: 'reject', text: `rejects entries of n${event.peer}: ${event.why}` };
    case 'snapshot':
      return {
        level: 2,
        kind: 'snapshot',
        text: `snapshot at ${event.index} with n${event.peer}: ${event.why}`,
      };
    case 'drop':
      return {
        level: 3,
        kind: 'drop',
        text: `ignores ${event.message.kind} of n${event.message.from}: ${event.why}`,
      };
    default:
      return unreachable(event);
  }
}

const CONFIG_PHASES = {
  appended: 'takes effect',
  committed: 'is committed',
  rolledBack: 'is in effect again',
} as const;

function summaryOf(entry: Entry): string {
  if (entry.kind === 'noop') return 'no-op';
  if (entry.kind === 'stub') return 'not kept';
  if (entry.kind === 'command') return describeCommand(entry.payload);
  const config = decodeConfig(entry.payload);
  return config === undefined ? 'config' : describeConfig(config);
}

function shorten(text: string): string {
  return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX - 1)}…` : text;
}
