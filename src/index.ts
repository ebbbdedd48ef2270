/** The public API: a cluster in this process, and a client for one elsewhere. */
export { Cluster } from './cluster/cluster.ts';
export type {
  ClientOptions,
  ClusterClient,
  ClusterHandle,
  ClusterNode,
  ClusterOptions,
  Data,
  DoorOptions,
  LinkFaults,
} from './cluster/api.ts';
export type { ClusterEvent, ClusterView, NodeAccount, NodeState, NodeView } from './cluster/view.ts';
export { connect } from './client/json-lines-client.ts';
export { type ErrorCode, OxideError } from './lib/errors.ts';
