/** The words of a node for its clients: what a refusal or a time that is over comes to as a reply. Pure. */
import { unreachable } from '../lib/assert.ts';
import type { LeaderHint, Reply } from '../net/protocol.ts';
import type { NodeId } from '../raft/entry.ts';
import { type ChangeProblem, MEMBERS_MAX } from '../raft/membership.ts';
import type { TransferProblem } from '../raft/messages.ts';

const NOT_LEADER = 'Not a leader. Please connect to the leader node.';

/** Nobody is known to lead. Certainly without effect. */
export const NO_LEADER: Reply = { kind: 'error', code: 'unavailable', message: 'No leader is known' };

/** This node does not lead, and does not pass the request on. */
export function notLeader(leader: LeaderHint | undefined): Reply {
  return {
    kind: 'error',
    code: 'not_leader',
    message: NOT_LEADER,
    ...(leader === undefined ? {} : { leader }),
  };
}

/** No answer came in time. @param effect what may have happened; undefined when certainly nothing has */
export function timedOut(effect: 'write' | 'change' | undefined): Reply {
  if (effect !== undefined) {
    return {
      kind: 'error',
      code: 'unknown',
      message: `No answer in time: the ${effect} may or may not have happened`,
    };
  }
  return { kind: 'error', code: 'unavailable', message: 'No leader could be reached in time' };
}

/** Why members are not changed. */
export function changeRefused(problem: ChangeProblem, node: NodeId): Reply {
  switch (problem) {
    case 'already_member':
      return { kind: 'error', code: problem, message: `Node ${node} is a member already` };
    case 'not_member':
      return { kind: 'error', code: problem, message: `Node ${node} is not a member` };
    case 'cannot_remove_last_server':
      return { kind: 'error', code: problem, message: `Node ${node} is the last voter` };
    case 'too_few_copies':
      return {
        kind: 'error',
        code: 'bad_request',
        message: `Too many of the voters to be are witnesses, or would be with node ${node}: a majority could be witnesses alone, which keep no data`,
      };
    case 'too_many_members':
      return { kind: 'error', code: problem, message: `A cluster has at most ${MEMBERS_MAX} members` };
    case 'no_majority':
      return {
        kind: 'error',
        code: 'unavailable',
        message: `Too few of the voters to be can be heard, node ${node} not: nobody could lead them`,
      };
    case 'named_twice':
      return { kind: 'error', code: 'bad_request', message: `Node ${node} is named twice` };
    case 'empty_change':
      return { kind: 'error', code: 'bad_request', message: 'Nothing is to be changed' };
    default:
      return unreachable(problem);
  }
}

/** Why leadership is not handed over; also the answer when nothing is to be done. */
export function transferRefused(problem: TransferProblem, node: NodeId): Reply {
  switch (problem) {
    case 'leads_already':
      // As after a first attempt whose answer was lost.
      return { kind: 'leader', leader: node };
    case 'not_voter':
      return { kind: 'error', code: 'bad_request', message: `Node ${node} is a learner and cannot lead` };
    case 'witness':
      return { kind: 'error', code: 'bad_request', message: `Node ${node} is a witness and cannot lead` };
    case 'not_member':
      return { kind: 'error', code: problem, message: `Node ${node} is not a member` };
    case 'no_other_voter':
      return { kind: 'error', code: 'bad_request', message: 'There is no other voter to lead' };
    default:
      return unreachable(problem);
  }
}
