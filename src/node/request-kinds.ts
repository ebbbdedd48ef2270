/** The kinds of requests, as far as a node treats them differently on their way to an answer. */
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
  return request.kind === 'get' || request.kind === 'scan' || request.kind === 'query';
}

/** It changes who belongs to the cluster, or who leads it. */
export function isClusterRequest(request: LeaderRequest): request is ClusterRequest {
  return request.kind === 'changeMembers' || request.kind === 'transferLeader';
}

/** It becomes an entry of the log. */
export function isWrite(request: LeaderRequest): request is WriteRequest {
  return !isRead(request) && !isClusterRequest(request);
}
