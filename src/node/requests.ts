/**
 * Client requests on their way through a node: each is proposed, read, passed on to the leader, or parked while there
 * is none, and ends in exactly one reply. It knows three outcomes of a write: done, certainly not done, unknown.
 */
import { unreachable } from '../lib/assert.ts';
import type { OperationAnswer, Result } from '../kv/command.ts';
import type { StateMachine } from '../kv/state-machine.ts';
import type { LeaderHint, LeaderRequest, Reply, Request, SubmitOptions } from '../net/protocol.ts';
import { limitExceeded } from '../net/limits.ts';
import type { LogIndex, NodeId } from '../raft/entry.ts';
import type { MemberChange } from '../raft/membership.ts';
import type { Outcome, Proposal, Refusal } from '../raft/messages.ts';
import { payloadOf, readFrom, replyOr, replyTo } from './machine-requests.ts';
import { NO_LEADER, changeRefused, notLeader, timedOut, transferRefused } from './replies.ts';
import { isClusterRequest, isRead, isRepeatable, isWrite } from './request-kinds.ts';
import { WriteGate } from './write-gate.ts';

/** Requests a node holds at once; further ones are refused with `overloaded`. */
export const PENDING_MAX = 65_536;
/** How long a write that was passed to a leader that is gone may still be answered before it counts as unknown. */
const LOST_LEADER_GRACE_MS = 1000;
/** Before a request that was passed on, and that may be repeated, is passed on again; the first time, and from then on. */
const RESEND_MS_MIN = 500;
const RESEND_MS_MAX = 1000;
/** How long a change of the cluster waits for a leader: it must not come true long after whoever asked has given it up. */
const CLUSTER_PARK_MS = 1000;
/** Between two looks at all that was passed on. */
const RESEND_LOOK_MS = 100;

const STALLED: Extract<Reply, { readonly kind: 'error' }> = {
  kind: 'error',
  code: 'overloaded',
  message: 'The leader is behind with compacting its tables',
};

type Stage = 'new' | 'parked' | 'proposed' | 'reading' | 'forwarded';

interface Pending {
  readonly id: number;
  readonly request: LeaderRequest;
  readonly forward: boolean;
  readonly done: (reply: Reply) => void;
  stage: Stage;
  /** An earlier attempt may have happened, whatever becomes of this one. */
  mayHaveHappened: boolean;
  /** Set at the first dispatch. */
  deadlineMs: number;
  /** A change of the cluster waits for a leader no longer than this. */
  parkUntilMs: number;
  /** The leader it was passed on to. */
  leader: NodeId;
  /** Its lease was over too soon: no other is tried. */
  isLeaseVoid: boolean;
  /** When it is passed on again for want of an answer, and how long it waits after that. */
  resendMs: number;
  resendAfterMs: number;
}

/** What one dispatch wants done. */
export interface Dispatch {
  readonly proposals: readonly Proposal[];
  readonly reads: readonly number[];
  /** Reads whose lease was over before the value was there: to be confirmed by a majority. */
  readonly rereads: readonly number[];
  readonly changes: readonly { readonly id: number; readonly changes: readonly MemberChange[] }[];
  readonly transfers: readonly { readonly id: number; readonly to: NodeId }[];
  readonly forwards: readonly { readonly to: NodeId; readonly id: number; readonly request: Request }[];
}

interface Readable {
  readonly id: number;
  readonly index: LogIndex;
  /** When the lease that it rests on is over. */
  readonly validUntilMs: number;
}

export class Requests {
  readonly #timeoutMs: number;
  readonly #canRead: boolean;
  readonly #pending: Map<number, Pending> = new Map();
  #fresh: Pending[] = [];
  #parked: Pending[] = [];
  /** Writes that wait until the gate opens, and when that is. */
  #held: Pending[] = [];
  #heldUntilMs = Infinity;
  /** Reads that wait until the state machine has come this far. */
  #readable: Readable[] = [];
  /** Proposals of this node by their place in the log, committed but not yet applied. */
  readonly #committed: Map<LogIndex, number> = new Map();
  /** Some writes wait for a lost leader's answer, with deadlines out of order. */
  #hasGrace = false;
  #leader: NodeId = 0;
  #retryMs = 0;
  /** When something that was passed on may be due again. */
  #resendMs = Infinity;
  #nextId: number;

  /**
   * @param firstId ids of requests count up from here; no other life of this node may use the same
   * @param canRead whether this node has the data to answer reads from; the leader answers them otherwise
   */
  constructor(options: { readonly timeoutMs: number; readonly firstId: number; readonly canRead: boolean }) {
    this.#timeoutMs = options.timeoutMs;
    this.#canRead = options.canRead;
    this.#nextId = options.firstId;
  }

  /** Requests without a reply yet. */
  get count(): number {
    return this.#pending.size;
  }

  /** When parked or old requests next need a look; Infinity for never. */
  get deadlineMs(): number {
    const oldest = this.#pending.values().next();
    const expiry = oldest.done === true ? Infinity : oldest.value.deadlineMs;
    const due = Math.min(expiry, this.#resendMs, this.#heldUntilMs);
    return this.#parked.length > 0 ? Math.min(due, this.#retryMs) : due;
  }

  submit(request: LeaderRequest, options: SubmitOptions, done: (reply: Reply) => void): void {
    const tooLarge = limitExceeded(request);
    if (tooLarge !== undefined) return done({ kind: 'error', code: 'too_large', message: tooLarge });
    if (this.#pending.size >= PENDING_MAX) {
      return done({
        kind: 'error',
        code: 'overloaded',
        message: `Node holds ${PENDING_MAX} requests already`,
      });
    }
    const id = this.#nextId++;
    const pending: Pending = {
      id,
      request,
      forward: options.forward,
      done,
      stage: 'new',
      mayHaveHappened: false,
      deadlineMs: Infinity,
      parkUntilMs: Infinity,
      leader: 0,
      isLeaseVoid: false,
      resendMs: Infinity,
      resendAfterMs: RESEND_MS_MIN,
    };
    this.#pending.set(id, pending);
    this.#fresh.push(pending);
  }

  /**
   * Decides what happens next to new and parked requests, and to those that were passed on and wait too long.
   *
   * @param gate of writes on a leader, which has looked at the time; by default one that is open
   */
  dispatch(
    nowMs: number,
    leader: LeaderHint | undefined,
    isLeader: boolean,
    gate: WriteGate = new WriteGate(nowMs),
  ): Dispatch {
    const hasChanged = (leader?.id ?? 0) !== this.#leader;
    if (hasChanged) this.#leaderChanged(nowMs, leader?.id ?? 0);
    let waiting = this.#fresh;
    this.#fresh = [];
    if (this.#held.length > 0 && (hasChanged || gate.state !== 'shut')) {
      waiting = [...this.#held, ...waiting];
      this.#held = [];
    }
    this.#heldUntilMs = Infinity;
    if (this.#parked.length > 0 && (hasChanged || nowMs >= this.#retryMs)) {
      waiting = [...this.#parked, ...waiting];
      this.#parked = [];
    }
    const proposals: Proposal[] = [];
    const reads: number[] = [];
    const rereads: number[] = [];
    const changes: { id: number; changes: readonly MemberChange[] }[] = [];
    const transfers: { id: number; to: NodeId }[] = [];
    const forwards: { to: NodeId; id: number; request: Request }[] = [];
    for (const pending of waiting) {
      if (pending.deadlineMs === Infinity) pending.deadlineMs = nowMs + this.#timeoutMs;
      if (!this.#pending.has(pending.id)) continue;
      const { id, request } = pending;
      if (isLeader && isWrite(request) && gate.state === 'shut') this.#held.push(pending);
      else if (isLeader && isWrite(request)) {
        const payload = gate.state === 'refusing' ? STALLED : replyOr(() => payloadOf(request));
        if (payload instanceof Uint8Array) {
          pending.stage = 'proposed';
          gate.took(payload.length);
          proposals.push({ id, payload });
        } else this.#finish(pending, payload);
      } else if (isLeader && request.kind === 'changeMembers') {
        pending.stage = 'proposed';
        changes.push({ id, changes: request.changes });
      } else if (isLeader && request.kind === 'transferLeader') {
        pending.stage = 'proposed';
        transfers.push({ id, to: request.to });
      } else if (
        isRead(request) &&
        (isLeader || (pending.forward && this.#canRead && leader !== undefined))
      ) {
        // A follower asks the leader for the index only, and reads from its own memory.
        pending.stage = 'reading';
        (pending.isLeaseVoid ? rereads : reads).push(id);
      } else if (!pending.forward) {
        this.#finish(pending, notLeader(leader));
      } else if (leader === undefined && isClusterRequest(request) && nowMs > pending.parkUntilMs) {
        this.#finish(pending, NO_LEADER);
      } else if (leader === undefined) {
        pending.parkUntilMs = Math.min(pending.parkUntilMs, nowMs + CLUSTER_PARK_MS);
        this.#park(pending, nowMs, true);
      } else {
        pending.stage = 'forwarded';
        pending.leader = leader.id;
        this.#resendLater(pending, nowMs);
        forwards.push({ to: leader.id, id, request });
      }
    }
    if (this.#held.length > 0) this.#heldUntilMs = gate.opensAtMs;
    if (nowMs >= this.#resendMs) forwards.push(...this.#resend(nowMs));
    return { proposals, reads, rereads, changes, transfers, forwards };
  }

  /** Takes the core's verdict on a proposal or a read of ours. */
  settle(outcome: Outcome, nowMs: number, leader: LeaderHint | undefined): void {
    const pending = this.#pending.get(outcome.id);
    if (pending === undefined) return;
    if (!outcome.ok) return this.#refused(pending, outcome.reason, nowMs, leader);
    if (outcome.kind === 'transferred')
      return this.#finish(pending, { kind: 'leader', leader: outcome.leader });
    if (pending.request.kind === 'changeMembers')
      return this.#finish(pending, { kind: 'ok', index: outcome.index });
    if (outcome.kind === 'committed') this.#committed.set(outcome.index, outcome.id);
    else {
      const { id, index, validUntilMs = Infinity } = outcome;
      this.#readable.push({ id, index, validUntilMs });
    }
  }

  /** Entry `index` was applied with this result. */
  applied(index: LogIndex, result: Result | OperationAnswer): void {
    if (this.#committed.size === 0) return;
    const id = this.#committed.get(index);
    if (id === undefined) return;
    this.#committed.delete(index);
    const pending = this.#pending.get(id);
    if (pending !== undefined) this.#finish(pending, replyTo(result));
  }

  /** Whether a dispatch has something to do that it had not at the last. */
  get hasFresh(): boolean {
    return this.#fresh.length > 0;
  }

  /**
   * Answers every confirmed read that the state machine is new enough for.
   *
   * @param nowMs the clock, read once a value is there: if the thread stood still before that, a lease may be over by then,
   *   and somebody else has written (thesis §6.4.1)
   */
  serveReads(machine: StateMachine, nowMs: () => number): void {
    if (this.#readable.length === 0) return;
    const waiting: Readable[] = [];
    for (const read of this.#readable) {
      if (read.index > machine.applied) {
        waiting.push(read);
        continue;
      }
      const pending = this.#pending.get(read.id);
      if (pending === undefined || !isRead(pending.request)) continue;
      const reply = readFrom(machine, pending.request);
      if (read.validUntilMs === Infinity || nowMs() < read.validUntilMs) this.#finish(pending, reply);
      else this.#readAgain(pending);
    }
    this.#readable = waiting;
  }

  /** The leader's answer to a request that was passed on. */
  forwarded(from: NodeId, id: number, reply: Reply, nowMs: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.stage !== 'forwarded' || pending.leader !== from) return;
    const mayTryAgain =
      reply.kind === 'error' &&
      (reply.code === 'not_leader' || (reply.code === 'unknown' && isRepeatable(pending.request)));
    if (mayTryAgain) return this.#park(pending, nowMs, reply.kind === 'error' && reply.code === 'not_leader');
    this.#finish(pending, reply);
  }

  /** Ends what has waited too long. */
  expire(nowMs: number): void {
    for (const pending of this.#pending.values()) {
      if (pending.deadlineMs > nowMs) break;
      this.#finish(pending, timedOut(effectOf(pending)));
    }
    // A lost leader's writes have a shorter deadline than the order of arrival tells.
    if (this.#hasGrace) {
      for (const pending of this.#pending.values())
        if (pending.deadlineMs <= nowMs) this.#finish(pending, timedOut(effectOf(pending)));
      this.#hasGrace = [...this.#pending.values()].some(
        (pending) => pending.stage === 'forwarded' && pending.leader !== this.#leader,
      );
    }
  }

  /** Ends everything: the disk failed, or the node stops. */
  failAll(reply: (isUncertain: boolean) => Reply): void {
    for (const pending of this.#pending.values()) {
      this.#finish(pending, reply(isUncertain(pending)));
    }
    this.#fresh = [];
    this.#parked = [];
    this.#held = [];
    this.#heldUntilMs = Infinity;
    this.#readable = [];
    this.#committed.clear();
  }

  #readAgain(pending: Pending): void {
    pending.stage = 'new';
    pending.isLeaseVoid = true;
    this.#fresh.push(pending);
  }

  #resendLater(pending: Pending, nowMs: number): void {
    if (!isRepeatable(pending.request)) return;
    pending.resendMs = nowMs + pending.resendAfterMs;
    pending.resendAfterMs = RESEND_MS_MAX;
    this.#resendMs = Math.min(this.#resendMs, pending.resendMs);
  }

  /** What was passed on, has no answer yet, and may be repeated: request or answer may be lost on the way. */
  #resend(nowMs: number): readonly { readonly to: NodeId; readonly id: number; readonly request: Request }[] {
    const due: { to: NodeId; id: number; request: Request }[] = [];
    this.#resendMs = Infinity;
    for (const pending of this.#pending.values()) {
      if (pending.stage !== 'forwarded' || pending.resendMs === Infinity) continue;
      if (pending.resendMs <= nowMs) {
        // Two copies are on their way now, and a refusal of one says nothing about the other.
        pending.mayHaveHappened = true;
        due.push({ to: pending.leader, id: pending.id, request: pending.request });
        this.#resendLater(pending, nowMs);
      }
      this.#resendMs = Math.min(this.#resendMs, pending.resendMs);
    }
    this.#resendMs = Math.max(this.#resendMs, nowMs + RESEND_LOOK_MS);
    return due;
  }

  #leaderChanged(nowMs: number, leader: NodeId): void {
    this.#leader = leader;
    for (const pending of this.#pending.values()) {
      if (pending.stage !== 'forwarded' || pending.leader === leader) continue;
      if (isRepeatable(pending.request)) this.#park(pending, nowMs, false);
      else {
        pending.deadlineMs = Math.min(pending.deadlineMs, nowMs + LOST_LEADER_GRACE_MS);
        this.#hasGrace = true;
      }
    }
  }

  #refused(pending: Pending, reason: Refusal, nowMs: number, leader: LeaderHint | undefined): void {
    switch (reason.kind) {
      case 'notLeader':
        if (pending.forward) return this.#park(pending, nowMs, true);
        return this.#finish(pending, notLeader(leader));
      case 'overloaded':
        return this.#finish(pending, {
          kind: 'error',
          code: 'overloaded',
          message: `Leader has ${reason.uncommittedBytes} bytes waiting to be committed`,
        });
      case 'configPending':
        return this.#finish(pending, {
          kind: 'error',
          code: 'change_pending',
          message: `Another change of members is under way, at ${reason.index}`,
        });
      case 'noopUncommitted':
        // A leader is new for a moment only.
        return this.#park(pending, nowMs, true);
      case 'invalidChange':
        return this.#finish(pending, changeRefused(reason.problem, reason.node));
      case 'storageFailed':
        return this.#finish(pending, {
          kind: 'error',
          code: 'storage_failed',
          message: 'The disk of this node has failed',
        });
      case 'transferring':
        // The next leader is a moment away.
        if (pending.request.kind !== 'transferLeader') return this.#park(pending, nowMs, true);
        return this.#finish(pending, {
          kind: 'error',
          code: 'change_pending',
          message: `Leadership is being handed to node ${reason.to} already`,
        });
      case 'invalidTarget':
        return this.#finish(pending, transferRefused(reason.problem, reason.node));
      case 'transferAborted':
        return this.#finish(pending, {
          kind: 'error',
          // The order to stand for election may still be on its way.
          code: 'unknown',
          message: `Node ${reason.to} did not take over in time; it may still`,
        });
      case 'tooManyReads':
        return this.#finish(pending, {
          kind: 'error',
          code: 'overloaded',
          message: `Node has ${reason.readsMax} reads waiting`,
        });
      case 'lostLeadership':
        if (!reason.mayCommit || isRepeatable(pending.request)) {
          if (pending.forward) return this.#park(pending, nowMs, !reason.mayCommit);
          if (!reason.mayCommit) return this.#finish(pending, notLeader(leader));
        }
        return this.#finish(pending, {
          kind: 'error',
          code: 'unknown',
          message: 'Leadership was lost before the write was committed: it may or may not happen',
        });
      default:
        return unreachable(reason);
    }
  }

  /** Waits for a leader. `isCertain`: the attempt that ended here certainly had no effect. */
  #park(pending: Pending, nowMs: number, isCertain: boolean): void {
    if (!isCertain) pending.mayHaveHappened = true;
    pending.stage = 'parked';
    pending.leader = 0;
    if (this.#parked.length === 0) this.#retryMs = nowMs + 20;
    this.#parked.push(pending);
  }

  #finish(pending: Pending, reply: Reply): void {
    if (!this.#pending.delete(pending.id)) return;
    const isDoubtful = pending.mayHaveHappened && !isRead(pending.request);
    // A refusal is certain of its own attempt only.
    if (!isDoubtful || reply.kind !== 'error' || reply.code === 'unknown') return pending.done(reply);
    pending.done({
      kind: 'error',
      code: 'unknown',
      message: `An earlier attempt may or may not have happened: ${reply.message}`,
    });
  }
}

/** Whether a request that ends now may have had an effect. */
function isUncertain({ request, stage, mayHaveHappened }: Pending): boolean {
  return !isRead(request) && (mayHaveHappened || stage === 'proposed' || stage === 'forwarded');
}

/** What a request that ends now may have done. */
function effectOf(pending: Pending): 'write' | 'change' | undefined {
  if (!isUncertain(pending)) return undefined;
  return isClusterRequest(pending.request) ? 'change' : 'write';
}
