/** Leases in the core: how far clocks may drift, and what a promise outlives. The stories are in scripts/lease. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import type { Input, Message, Output } from '../../src/raft/messages.ts';
import { Raft } from '../../src/raft/raft.ts';
import { InvariantViolation } from '../support/raft-invariants.ts';
import { RaftNetwork } from '../support/raft-network.ts';

function settle(network: RaftNetwork): void {
  while (network.packets.length > 0) network.deliver(network.packets.slice(0, 1));
}

/**
 * The clock of n1 runs at `rate`. It leads and is cut off; its thread is late with its timer. The others elect as soon as
 * their promise allows, write, and n1 is asked just after.
 *
 * @returns how the read ended
 */
function readOfSlowLeader(rate: number, leaseDrift: number): string {
  const network = new RaftNetwork({
    nodes: 3,
    seed: 1,
    config: { leaseReads: true, leaseDrift },
    rates: new Map([[1, rate]]),
  });
  network.step(1, { kind: 'campaign' });
  settle(network);
  const startMs = 50 / rate;
  network.advance(startMs);
  settle(network);
  network.isCut = ({ from, to }) => (from === 1) !== (to === 1);
  network.node(1).isFrozen = true;
  network.node(2).isFrozen = true;
  network.advance(startMs + 250);
  if (network.node(3).core.status.role === 'follower') network.step(3, { kind: 'campaign' });
  settle(network);
  expect(network.node(3).core.isLeader).toBe(true);
  network.propose(3, 'x');
  settle(network);
  expect(network.request('x').outcome).toMatchObject({ ok: true });
  try {
    network.readBy('lease', 1, 'r');
  } catch (error) {
    if (error instanceof InvariantViolation) return error.invariant;
    throw error;
  }
  return network.request('r').outcome === undefined ? 'asks' : 'answered';
}

describe('a lease', () => {
  it('is safe as long as clocks drift apart by no more than it allows, and not further (P48)', () => {
    expect(readOfSlowLeader(1, 0.1)).toBe('asks');
    expect(readOfSlowLeader(0.91, 0.1)).toBe('asks');
    expect(readOfSlowLeader(0.89, 0.1)).toBe('Linearizable Read');
    expect(readOfSlowLeader(0.89, 0.2)).toBe('asks');
    expect(readOfSlowLeader(0.75, 0.2)).toBe('Linearizable Read');
  });

  it('is never there without being asked for, nor while the followers may sleep', () => {
    const network = new RaftNetwork({ nodes: 1, seed: 1 });
    network.advance(600);
    expect(network.node(1).core.status).toMatchObject({ role: 'leader', leaseUntilMs: 0 });
    const leased = new RaftNetwork({
      nodes: 1,
      seed: 1,
      config: { leaseReads: true, quiesceAfterMs: 10 },
    });
    leased.advance(2_000);
    const { role, leaseUntilMs, isQuiesced } = leased.node(1).core.status;
    expect([role, isQuiesced]).toEqual(['leader', false]);
    expect(leaseUntilMs).toBeGreaterThan(2_000);
  });
});

/** A core that has run before and takes messages only. */
class Voter {
  readonly #raft: Raft;

  constructor(config: { readonly leaseReads: boolean; readonly isFresh?: boolean }) {
    this.#raft = new Raft({
      id: 1,
      voters: [1, 2, 3],
      nowMs: 0,
      hard: { term: config.isFresh === true ? 0 : 1, vote: 0, commit: 0 },
      base: { index: 0, term: 0 },
      entries: [],
      random: new Random(1),
      config: { leaseReads: config.leaseReads, electionMs: 250, heartbeatMs: 50 },
    });
  }

  step(nowMs: number, input: Input): void {
    this.#raft.step(nowMs, input);
  }

  hear(nowMs: number, message: Message): void {
    this.#raft.step(nowMs, { kind: 'message', message });
  }

  /** Whether a request for votes in `term` is granted. */
  votes(nowMs: number, term: number, pre: boolean, transfer?: { term: number; round: number }): boolean {
    const header = { from: 3, to: 1, term };
    const vote = { ...header, kind: 'vote', pre, last: { index: 9, term: 1 } } as const;
    this.hear(nowMs, transfer === undefined ? vote : { ...vote, transfer });
    return this.#drain(nowMs).some(({ send }) =>
      send.some((message) => message.kind === 'voteReply' && message.granted),
    );
  }

  get role(): string {
    return this.#raft.status.role;
  }

  #drain(nowMs: number): readonly Output[] {
    const outputs: Output[] = [];
    for (let output = this.#raft.drain(); output !== undefined; output = this.#raft.drain()) {
      outputs.push(output);
      if (output.write !== undefined) this.#raft.step(nowMs, { kind: 'persisted', seq: output.write.seq });
    }
    return outputs;
  }
}

const HEARTBEAT: Message = { kind: 'heartbeat', from: 2, to: 1, term: 1, commit: 0, round: 4 };

/** Whether a voter that has heard round 4 of term 1 lets the target of this transfer by. */
function votesForTransfer(term: number, round: number): boolean {
  const voter = new Voter({ leaseReads: true });
  voter.hear(300, HEARTBEAT);
  return voter.votes(310, term + 1, false, { term, round });
}

describe('a promise behind a lease', () => {
  it('stands in a later term, however the term came', () => {
    for (const leaseReads of [true, false]) {
      const voter = new Voter({ leaseReads });
      voter.hear(300, HEARTBEAT);
      // A refusal tells of a term, and the follower of term 4 follows nobody.
      voter.hear(310, { kind: 'voteReply', from: 3, to: 1, term: 4, pre: true, granted: false });
      expect(voter.votes(320, 4, false)).toBe(!leaseReads);
      expect(voter.votes(549, 5, true)).toBe(!leaseReads);
      expect(voter.votes(551, 5, true)).toBe(true);
    }
  });

  it('gives way to the candidate of the leader itself, unless a later round was heard (P51)', () => {
    expect([3, 4, 5].map((round) => votesForTransfer(1, round))).toEqual([false, true, true]);
    expect(votesForTransfer(2, 1)).toBe(true);
  });

  it('gives way to no permit but that of the term before', () => {
    const votes = [1, 2, 3, 4].map((term) => {
      const voter = new Voter({ leaseReads: true });
      voter.hear(300, HEARTBEAT);
      return voter.votes(310, 3, false, { term, round: 9 });
    });
    expect(votes).toEqual([false, true, false, false]);
  });

  it('is assumed after a restart for as long as it may stand, and not by a new node (P49)', () => {
    expect(new Voter({ leaseReads: true }).votes(249, 2, true)).toBe(false);
    expect(new Voter({ leaseReads: true }).votes(249, 2, false, { term: 1, round: 9 })).toBe(false);
    expect(new Voter({ leaseReads: true }).votes(250, 2, true)).toBe(true);
    expect(new Voter({ leaseReads: false }).votes(1, 2, true)).toBe(true);
    expect(new Voter({ leaseReads: true, isFresh: true }).votes(1, 2, true)).toBe(true);
  });

  it('binds its own candidacy, too', () => {
    for (const leaseReads of [true, false]) {
      const voter = new Voter({ leaseReads });
      voter.hear(300, HEARTBEAT);
      voter.step(310, { kind: 'campaign' });
      expect(voter.role).toBe(leaseReads ? 'follower' : 'preCandidate');
      voter.step(560, { kind: 'campaign' });
      expect(voter.role).toBe('preCandidate');
    }
  });
});
