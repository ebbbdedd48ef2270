/**
 * Who may go on leading, checked from outside as a run goes: nobody reads by a lease while another leads a later term
 * (thesis §6.4.1), and nobody leads with a disk that takes too long for a write (hashicorp/raft #503).
 */
import type { NodeId, Term } from '../raft/entry.ts';
import type { Seat } from './seat.ts';
import { fail } from './violation.ts';

/** Judges the leaders of one run. */
export class Leadership {
  readonly #storageStallMs: number;
  /** The last term that each node was seen to lead, in which of its lives. */
  readonly #led: Map<NodeId, { readonly term: Term; readonly life: number }> = new Map();

  /** @param options.storageStallMs as all nodes have it */
  constructor(options: { readonly storageStallMs: number }) {
    this.#storageStallMs = options.storageStallMs;
  }

  /**
   * A node has taken a turn, and shows it.
   *
   * @param turn how long its disk held it up, and how many entries came to its log
   * @param others that count for something: not those that lost what they promised
   */
  observed(
    seat: Seat,
    turn: { readonly diskMs: number; readonly appended: number },
    others: readonly Seat[],
    nowMs: number,
  ): void {
    const raft = seat.sight?.raft;
    if (raft === undefined || raft.role !== 'leader') return;
    const before = this.#led.get(seat.id);
    if (before?.term === raft.term && before.life === seat.life) return this.#checkDisk(seat, turn);
    this.#led.set(seat.id, { term: raft.term, life: seat.life });
    for (const other of others) if (other !== seat) checkLease(seat.id, raft.term, other, nowMs);
  }

  /** It led before this turn, wrote in it, and leads on. Nobody else can where there is one voter. */
  #checkDisk(
    { id, syncMs, sight }: Seat,
    turn: { readonly diskMs: number; readonly appended: number },
  ): void {
    if (syncMs <= this.#storageStallMs || turn.diskMs < syncMs || turn.appended === 0) return;
    if (sight?.raft.config.voters.every((voter) => voter === id) === true) return;
    fail(
      'I28 availability',
      `n${id} leads on, and its disk took ${Math.round(turn.diskMs)} ms for a write, where ${Math.round(this.#storageStallMs)} are too much`,
    );
  }
}

function checkLease(winner: NodeId, term: Term, { id, sight, clock }: Seat, nowMs: number): void {
  if (sight?.raft.role !== 'leader' || sight.raft.term >= term) return;
  const leftMs = sight.raft.leaseUntilMs - clock.read(nowMs);
  if (leftMs <= 0) return;
  fail(
    'I25 fresh reads',
    `n${winner} leads term ${term}, and n${id} may read by its lease of term ${sight.raft.term} for ${Math.round(leftMs)} ms more`,
  );
}
