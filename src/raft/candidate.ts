/**
 * A candidate (§5.2), or a pre-candidate that first asks whether it could win (thesis §9.6). Both count the same way;
 * only the pre-candidate has changed nothing durable yet.
 */
import { unreachable } from '../lib/assert.ts';
import type { Core, MessageOf, RoleState, Transitions } from './core.ts';
import type { NodeId, Term } from './entry.ts';
import type { MessageBody } from './header.ts';
import { isVoter } from './membership.ts';
import type { LeaderRound, Message } from './messages.ts';
import { answerVote } from './voter.ts';

export class Candidate implements RoleState {
  readonly kind: 'preCandidate' | 'candidate';
  /** A candidate has given up on the old leader, so it refuses nobody in its name. */
  readonly heardMs: number = -Infinity;
  readonly #core: Core;
  readonly #transitions: Transitions;
  /** The term being stood for. */
  readonly #term: Term;
  readonly #votes: { readonly from: NodeId; readonly granted: boolean }[] = [];

  /**
   * Asks every peer. The term and the vote for itself are already recorded when this is a real candidacy.
   *
   * @param transfer the round in which the leader chose this candidate; undefined for a candidate of its own accord
   */
  constructor(core: Core, transitions: Transitions, pre: boolean, transfer: LeaderRound | undefined) {
    this.kind = pre ? 'preCandidate' : 'candidate';
    this.#core = core;
    this.#transitions = transitions;
    this.#term = pre ? core.term + 1 : core.term;
    // A real candidacy is announced once it is durable, and the log it boasts of with it: a candidate that a crash makes
    // forget its term could win that term twice, with two logs. A pre-vote promises nothing.
    const { last } = core.log;
    const body: MessageBody =
      transfer === undefined ? { kind: 'vote', pre, last } : { kind: 'vote', pre, last, transfer };
    for (const peer of core.peers.filter((id) => isVoter(core.log.config, id))) {
      if (pre) core.send(peer, body, this.#term);
      else core.sendWhenDurable(peer, body, this.#term);
    }
    // Its own vote counts like any other: when it is durable.
    core.sendWhenDurable(core.id, { kind: 'voteReply', pre, granted: true }, this.#term);
  }

  get granted(): readonly NodeId[] {
    return this.#votes.filter((vote) => vote.granted).map((vote) => vote.from);
  }

  receive(message: Message): void {
    switch (message.kind) {
      case 'voteReply':
        return this.#count(message);
      case 'vote':
        return answerVote(this.#core, message, this.heardMs);
      case 'append':
      case 'rebase':
      case 'heartbeat':
      case 'appendReply':
      case 'appendReject':
      case 'heartbeatReply':
      case 'timeoutNow':
      case 'readRequest':
      case 'readReply':
        return this.#core.drop(message, 'a candidate asked for votes only');
      default:
        return unreachable(message);
    }
  }

  deadlinePassed(): void {
    this.#transitions.becomeCandidate(true, `no majority in term ${this.#term}: split or unanswered vote`);
  }

  wake(): void {}

  flush(): void {}

  leave(): void {}

  #count(message: MessageOf<'voteReply'>): void {
    const core = this.#core;
    const isPre = this.kind === 'preCandidate';
    if (message.pre !== isPre) return core.drop(message, 'reply to another round of voting');
    if (message.granted && !core.rules.isCurrentReply(message.term, this.#term)) {
      return core.drop(message, `vote for term ${message.term}, now standing for ${this.#term}`);
    }
    this.#votes.push({ from: message.from, granted: message.granted });
    const result = core.rules.electionResult(core.quorums, this.#votes);
    const tally = `votes of ${this.granted.map((id) => `n${id}`).join(' ')} of ${core.quorums.map((voters) => voters.length).join(' and of ')}`;
    if (result === 'won' && isPre)
      return this.#transitions.becomeCandidate(false, `would win term ${this.#term}: ${tally}`);
    if (result === 'won') return this.#transitions.becomeLeader(`won term ${this.#term}: ${tally}`);
    if (result === 'lost')
      this.#transitions.becomeFollower(core.term, 0, `a majority refused term ${this.#term}`);
  }
}
