/** The host of tests and campaigns: all nodes on this thread, called directly. */
import { defined } from '../lib/assert.ts';
import type { NodeId } from '../raft/entry.ts';
import type { Breaker, HostCall, HostResult, NodeHost } from './host.ts';
import { SimNode } from './sim-node.ts';

/** Nodes as plain objects. */
export class InProcessHost implements NodeHost {
  readonly #nodes: ReadonlyMap<NodeId, SimNode>;

  /** @param options.seed of the run */
  constructor(options: {
    readonly nodes: readonly NodeId[];
    readonly seed: string;
    readonly breaker: Breaker;
  }) {
    const { nodes, seed, breaker } = options;
    this.#nodes = new Map(nodes.map((id) => [id, new SimNode(id, seed, breaker)]));
  }

  call(node: NodeId, call: HostCall): HostResult {
    return defined(this.#nodes.get(node), `node ${node}`).call(call);
  }

  close(): void {
    // Nothing outlives the objects.
  }
}
