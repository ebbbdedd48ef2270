/** The public API: a cluster in this process, and a client for one elsewhere. */
export { Cluster } from './cluster/cluster.ts';
export type {
  AddNodeOptions,
  ChangeOptions,
  ClientOptions,
  ClusterClient,
  ClusterHandle,
  ClusterNode,
  ClusterOptions,
  Data,
  DoorOptions,
  LinkFaults,
  RemoveNodeOptions,
} from './cluster/api.ts';
export type {
  ClusterEvent,
  ClusterView,
  NodeAccount,
  NodeStanding,
  NodeState,
  NodeView,
} from './cluster/view.ts';
export { connect } from './client/json-lines-client.ts';
export { type ErrorCode, OxideError } from './lib/errors.ts';
