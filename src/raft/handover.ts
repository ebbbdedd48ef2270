/**
 * A request to hand leadership over, from the leader that takes it to its one outcome. It outlives the role: whether the
 * target leads is known only after this node has ceased to.
 */
import { assert } from '../lib/assert.ts';
import type { Core } from './core.ts';
import type { NodeId } from './entry.ts';
import type { Role } from './messages.ts';

/** Election timeouts within which the next leader must be heard of. */
const WAIT_ELECTIONS = 2;

export class Handover {
  #request: { readonly id: number; readonly to: NodeId } | undefined;
  /** When this node ceased to lead. */
  #leftMs: number | undefined;

  /** A leader has taken the request. */
  begin(id: number, to: NodeId): void {
    assert(this.#request === undefined, 'Leadership is handed to one node at a time');
    this.#request = { id, to };
    this.#leftMs = undefined;
  }

  /** The leader has given it up. */
  abort(core: Core): void {
    if (this.#request === undefined) return;
    const { id, to } = this.#request;
    this.#request = undefined;
    core.outcome({ id, ok: false, reason: { kind: 'transferAborted', to } });
  }

  /** Looks whether the outcome is known by now. */
  settle(core: Core, role: Role): void {
    if (this.#request === undefined || (role === 'leader' && this.#leftMs === undefined)) return;
    const { id, to } = this.#request;
    this.#leftMs ??= core.nowMs;
    const isLate = core.nowMs - this.#leftMs >= WAIT_ELECTIONS * core.config.electionMs;
    if (core.leader === to) {
      this.#request = undefined;
      return core.outcome({ id, ok: true, kind: 'transferred', leader: to });
    }
    // Somebody else leads, or this node stands for election itself: it has lost sight of the target.
    if (core.leader !== 0 || role !== 'follower' || core.failed || isLate) this.abort(core);
  }
}
