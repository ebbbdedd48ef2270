/** Lines of a trace, for people. */
import { describeConfig } from '../../raft/membership.ts';
import type { Event, Message, Outcome } from '../../raft/messages.ts';
import { unreachable } from '../../lib/assert.ts';

/** A message in one line: `n1→n2 term 3 append 5@2 +1 commit 4`. */
export function messageText(message: Message): string {
  return `n${message.from}→n${message.to} term ${message.term} ${bodyText(message)}`;
}

function bodyText(message: Message): string {
  switch (message.kind) {
    case 'vote':
      return `${message.pre ? 'pre-vote' : 'vote'}? log ${message.last.index}@${message.last.term}`;
    case 'voteReply':
      return `${message.pre ? 'pre-vote' : 'vote'} ${message.granted ? 'granted' : 'refused'}`;
    case 'append':
      return `append ${message.prev.index}@${message.prev.term} +${message.entries.length} commit ${message.commit} round ${message.round}`;
    case 'appendReply':
      return `has ${message.match} round ${message.round}`;
    case 'rebase':
      return `begin behind ${message.position.index}@${message.position.term} round ${message.round}`;
    case 'appendReject':
      return `rejects ${message.rejected}, try ${message.hint.index}@${message.hint.term}`;
    case 'heartbeat':
      return `heartbeat commit ${message.commit} round ${message.round}`;
    case 'heartbeatReply':
      return `heartbeat answered, round ${message.round}`;
    case 'timeoutNow':
      return `take over, round ${message.round}`;
    case 'readRequest':
      return `where may I read? (${message.id})`;
    case 'readReply':
      return `read at ${message.index} (${message.id})`;
    default:
      return unreachable(message);
  }
}

/** An event of a core in one line. */
export function eventText(event: Event): string {
  switch (event.kind) {
    case 'role':
      return `${event.from} ⇒ ${event.to} in term ${event.term}: ${event.why}`;
    case 'term':
      return `enters term ${event.term}: ${event.why}`;
    case 'vote':
      return `${event.granted ? 'grants' : 'refuses'} n${event.candidate} ${event.pre ? 'a pre-vote' : 'its vote'} in term ${event.term}: ${event.why}`;
    case 'commit':
      return `commits ${event.index}: ${event.why}`;
    case 'truncate':
      return `drops what is behind ${event.after}: ${event.why}`;
    case 'reject':
      return `rejects an append of n${event.peer}: ${event.why}`;
    case 'snapshot':
      return `snapshot ${event.index}, n${event.peer}: ${event.why}`;
    case 'config':
      return `configuration ${event.index} ${event.phase}: ${describeConfig(event.config)}: ${event.why}`;
    case 'transfer':
      return `hands over to n${event.to}: ${event.why}`;
    case 'quiesce':
      return `${event.isQuiesced ? 'falls asleep' : 'wakes'}: ${event.why}`;
    case 'stall':
      return `stalls: ${event.why}`;
    case 'whole':
      return `votes again: ${event.why}`;
    case 'drop':
      return `drops ${messageText(event.message)}: ${event.why}`;
    default:
      return unreachable(event);
  }
}

/** The end of a request in one line. */
export function outcomeText(outcome: Outcome): string {
  if (outcome.ok && outcome.kind === 'transferred') return `request ${outcome.id}: n${outcome.leader} leads`;
  if (outcome.ok) return `request ${outcome.id} ${outcome.kind} at ${outcome.index}`;
  return `request ${outcome.id} refused: ${outcome.reason.kind}`;
}
