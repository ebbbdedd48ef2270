/**
 * What keeps a cluster usable, checked from outside: a leader without a majority gives up in time (thesis §6.2), so does
 * one whose disk hangs (hashicorp/raft #503), and a replica that hears from a live leader helps nobody to depose it
 * (thesis §4.2.3, §9.6). Where time or order are not certain it says nothing.
 */
import { at } from '../../lib/assert.ts';
import type { NodeId, Term } from '../../raft/entry.ts';
import { isWitness } from '../../raft/membership.ts';
import type { Event, Message } from '../../raft/messages.ts';
import { isQuorum } from './majority.ts';
import type { SimNode } from './node.ts';
import type { Tuning } from './plan.ts';
import { violated } from './violation.ts';

/** Heartbeats that may pass between losing the majority and noticing. */
const SLACK_HEARTBEATS = 4;

/** All times on the node's own clock. */
interface Contact {
  /** When each node was last heard of, by id; replies in the leader's own term alone. */
  readonly repliedMs: number[];
  /** Before this nothing may be held against the leader: it was elected, or stood still. */
  excusedMs: number;
  /** When a leader of `heardTerm` was last heard of; -Infinity for never. */
  heardMs: number;
  heardTerm: Term;
  /** The pre-vote that is being answered comes while a leader lives. */
  mustRefuse: boolean;
  /** Writes that the core was not told to be durable, oldest first. */
  writes: { readonly seq: number; readonly givenMs: number }[];
}

export class Stability {
  readonly #contacts: readonly Contact[];

  constructor(count: number) {
    this.#contacts = Array.from({ length: count }, () => ({
      repliedMs: Array.from({ length: count }, () => -Infinity),
      excusedMs: -Infinity,
      heardMs: -Infinity,
      heardTerm: 0,
      mustRefuse: false,
      writes: [],
    }));
  }

  /** A node starts. */
  started(node: SimNode, nowMs: number): void {
    const contact = this.#of(node.id);
    contact.heardMs = -Infinity;
    contact.excusedMs = nowMs;
    contact.writes = [];
  }

  /** A core gave out a write. */
  gave(node: SimNode, seq: number, nowMs: number): void {
    this.#of(node.id).writes.push({ seq, givenMs: nowMs });
  }

  /** A core was told that writes up to `seq` are durable. */
  persisted(node: SimNode, seq: number): void {
    const { writes } = this.#of(node.id);
    let done = 0;
    while (done < writes.length && at(writes, done).seq <= seq) done += 1;
    writes.splice(0, done);
  }

  /** A node stood still until now. */
  excused(node: SimNode, nowMs: number): void {
    this.#of(node.id).excusedMs = nowMs;
  }

  /** A node is handed a message. `isAlone`: and nothing else in this turn. */
  arrives(node: SimNode, message: Message, nowMs: number, isAlone: boolean, electionMs: number): void {
    const contact = this.#of(node.id);
    const isFollower = isAlone && node.role === 'follower';
    contact.mustRefuse = false;
    if (message.kind === 'append' || message.kind === 'heartbeat') {
      if (message.term < node.term) return;
      contact.heardMs = isFollower ? nowMs : -Infinity;
      contact.heardTerm = message.term;
    } else if (message.kind === 'vote') {
      const isAskedFor = message.pre && message.transfer === undefined;
      const isAlive = contact.heardTerm === node.term && nowMs - contact.heardMs < electionMs;
      contact.mustRefuse = isFollower && isAskedFor && isAlive;
    } else if (message.kind !== 'voteReply' && message.term === node.term) {
      contact.repliedMs[message.from - 1] = nowMs;
    }
  }

  /** A core told what happened in it. */
  event(node: SimNode, event: Event, nowMs: number): void {
    const contact = this.#of(node.id);
    if (event.kind === 'role') {
      contact.heardMs = -Infinity;
      if (event.to === 'leader') {
        contact.repliedMs.fill(-Infinity);
        contact.excusedMs = nowMs;
      }
    }
    // With other members, and around a transfer or a sleep, it has asked nobody for a while.
    if (event.kind === 'config' || event.kind === 'transfer' || event.kind === 'quiesce')
      contact.excusedMs = nowMs;
    if (event.kind === 'vote' && event.pre && event.granted && contact.mustRefuse)
      violated(
        'I28 stable leadership',
        `n${node.id} helps n${event.candidate} to depose the leader of term ${contact.heardTerm}, heard of just now`,
      );
  }

  /** A leader has looked at its timer: it must have heard from a majority lately, and from its disk. */
  ticked(node: SimNode, nowMs: number, config: Tuning, lateMs: number): void {
    if (node.role !== 'leader' || node.isPaused) return;
    this.#checkDisk(node, nowMs, config, lateMs);
    const { repliedMs, excusedMs } = this.#of(node.id);
    const allowedMs = config.electionMs + SLACK_HEARTBEATS * (config.heartbeatMs + lateMs);
    const isNear = (id: NodeId): boolean =>
      id === node.id || nowMs - Math.max(at(repliedMs, id - 1), excusedMs) <= allowedMs;
    if (isQuorum(node.memory.config, isNear)) return;
    violated(
      'I28 stable leadership',
      `n${node.id} leads term ${node.term} on, and has heard from no majority for ${Math.round(allowedMs)} ms`,
    );
  }

  /** Where all other voters are witnesses, nobody else can lead. */
  #checkDisk(node: SimNode, nowMs: number, config: Tuning, lateMs: number): void {
    const { writes, excusedMs } = this.#of(node.id);
    const [oldest] = writes;
    const { config: members } = node.memory;
    if (oldest === undefined || members.voters.every((id) => id === node.id || isWitness(members, id)))
      return;
    const waitedMs = nowMs - Math.max(oldest.givenMs, excusedMs);
    if (waitedMs <= config.storageStallMs + SLACK_HEARTBEATS * (config.heartbeatMs + lateMs)) return;
    violated(
      'I28 stable leadership',
      `n${node.id} leads term ${node.term} on, and its disk has not finished a write for ${Math.round(waitedMs)} ms`,
    );
  }

  #of(id: NodeId): Contact {
    return at(this.#contacts, id - 1);
  }
}
