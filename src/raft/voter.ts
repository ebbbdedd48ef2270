/** Answers to RequestVote and pre-vote (§5.2, §5.4.1; thesis §9.6). The same in every role. */
import type { Core, MessageOf } from './core.ts';

/**
 * Answers a vote request of the current term, or a pre-vote for a later one. A pre-vote changes nothing here: it asks
 * whether an election would have a chance, so that a node that was cut off does not depose a healthy leader.
 *
 * @param heardMs when this replica last had proof of a live leader
 */
export function answerVote(core: Core, message: MessageOf<'vote'>, heardMs: number): void {
  const why = refusal(core, message, heardMs);
  const granted = why === undefined;
  core.event({
    kind: 'vote',
    candidate: message.from,
    pre: message.pre,
    granted,
    term: message.term,
    why: why ?? (message.pre ? 'it would win fairly' : `first to ask in term ${message.term}`),
  });
  if (message.pre) {
    // A granted pre-vote speaks of the term asked for; a refused one tells the candidate the term it missed.
    core.send(message.from, { kind: 'voteReply', pre: true, granted }, granted ? message.term : core.term);
    return;
  }
  if (granted) {
    core.setTerm(core.term, message.from);
    core.resetElectionTimer();
  }
  core.sendWhenDurable(message.from, { kind: 'voteReply', pre: false, granted });
}

function refusal(core: Core, message: MessageOf<'vote'>, heardMs: number): string | undefined {
  const { rules, config, log, lossObstacle } = core;
  if (lossObstacle !== undefined) return lossObstacle;
  if (message.pre && message.term <= core.term)
    return `pre-vote for term ${message.term}, already in ${core.term}`;
  // A vote for a later term was held against this when the term was new. With leases a term may have come by another way,
  // and the promise stands in it.
  if (message.pre || config.leaseReads) {
    const obstacle = core.allegianceAgainst(heardMs, message.term, message.transfer);
    if (obstacle !== undefined) return obstacle;
  }
  if (!message.pre && !rules.mayVoteFor(core.vote, message.from)) return `already voted for n${core.vote}`;
  if (!rules.isUpToDate(message.last, log.last)) {
    return `log older: ${message.last.index}@${message.last.term} < ${log.last.index}@${log.last.term}`;
  }
  return undefined;
}
