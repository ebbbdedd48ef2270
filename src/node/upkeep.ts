/**
 * What a leader proposes by itself, because it must go through the log and nobody asks for it: the ends of leases that have
 * run out, what is left of long ones, and the end of old history. Time is an input. Whoever loses leadership forgets all of
 * it; the next leader finds in the replicated state what is to be done.
 */
import { encodeCommand } from '../kv/command-codec.ts';
import { LeaseClock } from '../kv/lease-clock.ts';
import type { Operation } from '../kv/operation.ts';
import type { StateMachine } from '../kv/state-machine.ts';
import type { LogIndex, Term } from '../raft/entry.ts';
import type { Outcome, Proposal } from '../raft/messages.ts';

/** Revisions that can be read behind the newest, unless told otherwise. */
const HISTORY_REVISIONS = 100_000;
/** With more bytes of history in memory half of it goes, however few revisions that leaves. */
const HISTORY_BYTES_MAX = 256 * 2 ** 20;
/** Until the engine has given back what went: it does so little by little. */
const HISTORY_BYTES_EVERY_MS = 10_000;
/** What was refused is not proposed again before this. */
const RETRY_MS = 200;
/** Leases that one turn ends, and that one entry writes down. */
const LEASES_A_TURN_MAX = 128;

/** What upkeep looks at. */
export interface UpkeepView {
  readonly nowMs: number;
  /** The term in which this node leads, once it has applied an entry of that term; undefined while it does not. */
  readonly leadsIn: Term | undefined;
  /** Bytes that the engine holds in memory, old versions included; 0 when they are on disk. */
  readonly engineBytes: number;
}

/** A proposal under way: at `index` once that is known. */
interface Compacting {
  readonly id: number;
  index: LogIndex | undefined;
}

export class Upkeep {
  readonly #machine: StateMachine;
  readonly #clock: LeaseClock;
  readonly #historyRevisions: number;
  /** A new leader adds it to what is left of a lease: nobody could renew it meanwhile. */
  readonly #extensionMs: number;
  #term: Term | undefined;
  #compacting: Compacting | undefined;
  #compactAtMs = -Infinity;
  #spaceAtMs = -Infinity;
  #leasesDueMs = Infinity;
  #nextId = -1;

  constructor(options: {
    readonly machine: StateMachine;
    readonly historyRevisions: number | undefined;
    /** How long a cluster is without a leader, at most and if all is well. */
    readonly electionMsMax: number;
  }) {
    this.#machine = options.machine;
    this.#clock = new LeaseClock(options.machine.leases);
    this.#historyRevisions = options.historyRevisions ?? HISTORY_REVISIONS;
    this.#extensionMs = options.electionMsMax;
  }

  /** Whether a proposal with this id is one of upkeep. Those of clients have none below 0. */
  owns(id: number): boolean {
    return id < 0;
  }

  /** When {@link look} is wanted though nothing else happens. */
  get deadlineMs(): number {
    return this.#leasesDueMs;
  }

  /** What is due. To be asked behind everything that is applied. */
  look(view: UpkeepView): readonly Proposal[] {
    const { nowMs, leadsIn } = view;
    if (leadsIn !== this.#term) this.#lead(leadsIn, nowMs);
    if (leadsIn === undefined) return [];
    const operations = this.#leasesDue(nowMs).map((operation) => this.#proposal(operation));
    const revision = this.#historyDue(view);
    if (revision === undefined) return operations;
    const proposal = this.#proposal({ kind: 'compact', revision });
    this.#compacting = { id: proposal.id, index: undefined };
    return [...operations, proposal];
  }

  /** The core's verdict on a proposal of upkeep. A lease whose end was refused is due again by itself. */
  settle(outcome: Outcome, nowMs: number): void {
    const compacting = this.#compacting;
    if (compacting?.id !== outcome.id) return;
    if (outcome.ok && outcome.kind === 'committed') compacting.index = outcome.index;
    else {
      this.#compacting = undefined;
      this.#compactAtMs = nowMs + RETRY_MS;
    }
  }

  #lead(term: Term | undefined, nowMs: number): void {
    this.#term = term;
    this.#compacting = undefined;
    if (term !== undefined) return this.#clock.promote(nowMs, this.#extensionMs);
    this.#clock.demote();
    this.#leasesDueMs = Infinity;
  }

  #leasesDue(nowMs: number): readonly Operation[] {
    const clock = this.#clock;
    const operations: Operation[] = clock
      .expired(nowMs, LEASES_A_TURN_MAX)
      .map((id) => ({ kind: 'leaseRevoke', id }));
    const remaining = clock.checkpointsDue(nowMs, LEASES_A_TURN_MAX);
    if (remaining.length > 0) operations.push({ kind: 'leaseCheckpoint', remaining });
    this.#leasesDueMs = clock.nextDueMs(nowMs);
    return operations;
  }

  /** The revision below which history should go; undefined when it may stay. */
  #historyDue({ nowMs, engineBytes }: UpkeepView): number | undefined {
    const { revision, compactedRevision, applied, bytes } = this.#machine;
    const index = this.#compacting?.index;
    if (index !== undefined && applied >= index) this.#compacting = undefined;
    if (this.#compacting !== undefined || nowMs < this.#compactAtMs) return undefined;
    const due = this.#machine.historyDue(this.#historyRevisions);
    if (due !== undefined) return due;
    if (engineBytes - bytes <= HISTORY_BYTES_MAX || nowMs < this.#spaceAtMs) return undefined;
    this.#spaceAtMs = nowMs + HISTORY_BYTES_EVERY_MS;
    const half = Math.ceil((compactedRevision + revision) / 2);
    return half > compactedRevision ? half : undefined;
  }

  #proposal(operation: Operation): Proposal {
    return { id: this.#nextId--, payload: encodeCommand({ kind: 'operation', operation }) };
  }
}
