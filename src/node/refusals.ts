/** What a node says when it serves nothing, and what it says to changes of members that name no place. */
import { addressOf } from '../net/address.ts';
import type { Reply } from '../net/protocol.ts';
import type { MemberChange } from '../raft/membership.ts';
import type { NodeOptions } from './env.ts';
import type { Compacted } from './snapshot-saving.ts';

type ErrorReply = Extract<Reply, { readonly kind: 'error' }>;

/** Of a node that stops. @param isUncertain the request may have had an effect */
export function stopping(isUncertain: boolean): ErrorReply {
  if (!isUncertain) return { kind: 'error', code: 'unavailable', message: 'Node is stopping' };
  const message = 'Node stopped before the write was answered: it may or may not happen';
  return { kind: 'error', code: 'unknown', message };
}

/** Of a node whose disk failed. @param isUncertain as above */
export function storageFailed(isUncertain: boolean): ErrorReply {
  if (!isUncertain) {
    const message = 'The disk of this node has failed; it serves nothing';
    return { kind: 'error', code: 'storage_failed', message };
  }
  const message = 'The disk of this node failed: the write may or may not happen';
  return { kind: 'error', code: 'unknown', message };
}

/** How a request to compact ended. */
export function compacted(result: Compacted): Reply {
  if (result.ok) return { kind: 'ok', index: result.index };
  return { kind: 'error', code: 'unavailable', message: result.why };
}

/** Of a leader whose disk is full, to writes: none was begun. */
export function storageFull(): ErrorReply {
  const message = 'The disk of this node is full; it takes no writes until there is room';
  return { kind: 'error', code: 'storage_full', message };
}

/** What is wrong with the addresses of nodes to be added, in words; undefined when nothing is. */
export function addressProblem(
  rule: NodeOptions['memberAddresses'] = 'any',
  changes: readonly MemberChange[],
): string | undefined {
  for (const change of changes) {
    if (!('address' in change) || rule === 'any') continue;
    const { node, address } = change;
    if (rule === 'none' && address !== '')
      return `Cannot add n${node} by an address: the nodes of this cluster are threads of one process`;
    if (rule === 'needed' && addressOf(address) === undefined)
      return `Cannot add n${node}: its address is "${address}", expected host:port`;
  }
  return undefined;
}
