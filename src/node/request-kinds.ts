/** The kinds of requests, as far as a node treats them differently on their way to an answer. */
import { unreachable } from '../lib/assert.ts';
import { latin1 } from '../lib/bytes.ts';
import { encodeCommand } from '../kv/command-codec.ts';
import type { ClusterRequest, LeaderRequest, ReadRequest, WriteRequest } from '../net/protocol.ts';

/**
 * A repeated read is a new read; a repeated write with a session is answered from the session's table. A change of the
 * cluster is not repeated: its second attempt would be refused for what the first has done.
 */
export function isRepeatable(request: LeaderRequest): boolean {
  if (isRead(request) || request.kind === 'openSession') return true;
  return isWrite(request) && request.session !== undefined;
}

/** It has no effect, and needs no entry of the log. */
export function isRead(request: LeaderRequest): request is ReadRequest {
  return request.kind === 'get' || request.kind === 'scan';
}

/** It changes who belongs to the cluster, or who leads it. */
export function isClusterRequest(request: LeaderRequest): request is ClusterRequest {
  return request.kind === 'changeMembers' || request.kind === 'transferLeader';
}

/** It becomes an entry of the log. */
export function isWrite(request: LeaderRequest): request is WriteRequest {
  return !isRead(request) && !isClusterRequest(request);
}

/** A write as the payload of its entry. */
export function encodeWrite(request: WriteRequest): Uint8Array {
  switch (request.kind) {
    case 'set':
    case 'delete':
    case 'cas':
      return encodeCommand({ ...request, key: latin1(request.key) });
    case 'openSession':
      return encodeCommand(request);
    default:
      return unreachable(request);
  }
}
