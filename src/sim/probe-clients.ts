/** Rare paths that show in what clients ask and are answered. */
import type { Reply, Request } from '../net/protocol.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { Hit } from './probe-names.ts';

/** What is known of the cluster when a request comes or is answered. */
export interface ClusterView {
  /** Of the newest leader that was seen. */
  readonly leaderTerm: Term;
  readonly leader: NodeId;
  /** The last index that any node has committed. */
  readonly commit: LogIndex;
}

interface Asked {
  readonly request: Request;
  readonly view: ClusterView;
  readonly node: NodeId;
  /** The command had been asked before. */
  readonly isRepeated: boolean;
}

export class ClientProbes {
  readonly #hit: Hit;
  readonly #asked: Map<number, Asked> = new Map();
  /** The last command that was asked in each session: a client has one at a time. */
  readonly #lastSeq: Map<number, number> = new Map();

  constructor(hit: Hit) {
    this.#hit = hit;
  }

  submitted(id: number, node: NodeId, request: Request, view: ClusterView): void {
    const session = 'session' in request ? request.session : undefined;
    const isRepeated = session !== undefined && this.#lastSeq.get(session.id) === session.seq;
    if (session !== undefined) this.#lastSeq.set(session.id, session.seq);
    this.#asked.set(id, { request, view, node, isRepeated });
  }

  replied(id: number, reply: Reply, view: ClusterView): void {
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    this.#asked.delete(id);
    if (reply.kind === 'error') return this.#refused(reply);
    const hit = this.#hit;
    if (reply.kind === 'mismatch') hit('compare-and-set refused');
    const isWrite = reply.kind === 'ok' || reply.kind === 'mismatch';
    const isRead = reply.kind === 'value' || reply.kind === 'rows';
    // What had its place in the log before it was asked again was not applied again.
    if (isWrite && asked.isRepeated && reply.index <= asked.view.commit)
      hit('session retry answered from the table');
    if ((isWrite || isRead) && asked.view.leader !== 0 && asked.node !== view.leader)
      hit('request through a follower');
    if (view.leaderTerm === asked.view.leaderTerm || asked.view.leaderTerm === 0) return;
    if (isWrite) hit('write answered after a change of leader');
    if (isRead) hit('read confirmed after a change of leader');
  }

  lost(id: number): void {
    if (this.#asked.delete(id)) this.#hit('request lost with its node');
  }

  #refused(reply: Extract<Reply, { readonly kind: 'error' }>): void {
    const hit = this.#hit;
    if (reply.code === 'unknown') hit('write of unknown outcome');
    else if (reply.code === 'session_expired') hit('session expired');
    else if (reply.code === 'overloaded') hit('node overloaded');
    else if (reply.code === 'not_leader' && reply.leader !== undefined)
      hit('request sent on to the leader by its client');
  }
}
