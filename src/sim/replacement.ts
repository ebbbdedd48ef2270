/**
 * Replaces the machine of a member as an operator does it: the member is removed, its directory is thrown away when
 * everybody knows that, and under its old number a new machine with an empty directory is added.
 */
import type { NodeId } from '../raft/entry.ts';
import { membersOf } from '../raft/membership.ts';
import type { Request } from '../net/protocol.ts';
import type { Scheduler } from './scheduler.ts';
import type { Supervisor } from './supervisor.ts';

/** How often the operator looks, and how often they ask, in election timeouts. */
const LOOK_EVERY = 0.5;
const LOOKS_MAX = 24;
const ASK_EVERY = 2;
const ASKS_MAX = 4;

/** What a replacement needs of its run. */
export interface Workshop {
  readonly scheduler: Scheduler;
  readonly supervisor: Supervisor;
  readonly electionMs: number;
  /** Asks some node, and waits for no answer. */
  readonly ask: (request: Request) => void;
  /** Does something later, unless trouble is over by then. */
  readonly later: (delayMs: number, act: () => void) => void;
  /** The node is a new one from now on: what the old one promised is void. */
  readonly replaced: (id: NodeId) => void;
}

/** Begins to replace a member. @returns whether it is one that may be removed */
export function replace(shop: Workshop, id: NodeId): boolean {
  const { config } = shop.scheduler;
  if (config === undefined || !membersOf(config).includes(id) || membersOf(config).length < 2) return false;
  shop.ask({ kind: 'changeMembers', changes: [{ kind: 'remove', node: id }] });
  awaitRemoval(shop, id, LOOKS_MAX);
  return true;
}

function awaitRemoval(shop: Workshop, id: NodeId, looks: number): void {
  shop.later(shop.electionMs * LOOK_EVERY, () => {
    if (!isGone(shop, id)) return looks > 1 ? awaitRemoval(shop, id, looks - 1) : undefined;
    const { scheduler, supervisor } = shop;
    scheduler.remark(`n${id} is removed: replace its machine`);
    shop.replaced(id);
    scheduler.wipe(id, true);
    supervisor.wentDown(id);
    add(shop, id, ASKS_MAX);
  });
}

/** Nobody, down or up, goes by members that it is one of, and the leader knows that this is for good. */
function isGone({ scheduler }: Workshop, id: NodeId): boolean {
  const { leader } = scheduler;
  const raft = leader === 0 ? undefined : scheduler.seat(leader).sight?.raft;
  if (raft === undefined || raft.configIndex > raft.commit || raft.config.outgoing.length > 0) return false;
  return scheduler.seats.every(
    ({ id: other, config }) => other === id || config === undefined || !membersOf(config).includes(id),
  );
}

function add(shop: Workshop, id: NodeId, asks: number): void {
  shop.later(shop.electionMs * ASK_EVERY, () => {
    const { config } = shop.scheduler;
    if (config === undefined || membersOf(config).includes(id)) return;
    shop.ask({ kind: 'changeMembers', changes: [{ kind: 'add', node: id, address: '' }] });
    if (asks > 1) add(shop, id, asks - 1);
  });
}
