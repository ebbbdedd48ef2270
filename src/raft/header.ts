/**
 * Puts the header on a message. The kinds that travel all the time are written out: copying an object whose shape the
 * engine does not know costs more than all the rest of a step.
 */
import { unreachable } from '../lib/assert.ts';
import type { NodeId, Term } from './entry.ts';
import type { Message } from './messages.ts';

/** A message without its header, which the core fills in. */
export type MessageBody = Message extends infer M
  ? M extends Message
    ? Omit<M, 'from' | 'to' | 'term'>
    : never
  : never;

/** The message that says `body`. */
export function withHeader(body: MessageBody, from: NodeId, to: NodeId, term: Term): Message {
  switch (body.kind) {
    case 'append': {
      const { kind, prev, entries, commit, round } = body;
      return { kind, prev, entries, commit, round, from, to, term };
    }
    case 'appendReply': {
      const { kind, match, round } = body;
      return { kind, match, round, from, to, term };
    }
    case 'heartbeat': {
      const { kind, commit, round, quiesce } = body;
      if (quiesce === true) return { kind, commit, round, quiesce, from, to, term };
      return { kind, commit, round, from, to, term };
    }
    case 'heartbeatReply': {
      const { kind, round } = body;
      return { kind, round, from, to, term };
    }
    case 'vote':
    case 'voteReply':
    case 'appendReject':
    case 'rebase':
    case 'timeoutNow':
    case 'readRequest':
    case 'readReply':
      return { ...body, from, to, term };
    default:
      return unreachable(body);
  }
}
