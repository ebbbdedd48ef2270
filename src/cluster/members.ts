/**
 * Changes of the members of a cluster in one process: new threads are taken in, old ones let go, one change at a time.
 * It asks the leader like any client, and looks what became of it when an answer was lost.
 */
import type { PortClient } from '../client/port-client.ts';
import { type ErrorCode, OxideError } from '../lib/errors.ts';
import type { MemberStanding, NodeStatus } from '../net/protocol.ts';
import type { MemberChange } from '../raft/membership.ts';
import type { AddNodeOptions, ChangeOptions, RemoveNodeOptions } from './api.ts';

const TIMEOUT_MS = 30_000;
/** Between two looks at the cluster. */
const POLL_MS = 20;
/** Answers after which the change may be made: by an earlier attempt, or by the one that told nothing. */
const MAY_BE_MADE: readonly ErrorCode[] = ['unknown', 'change_pending', 'already_member', 'not_member'];
/** How long a change waits for the view. */
const SHOWN_MS = 500;
/** To take a node out again that could not catch up. */
const UNDO_MS = 5000;

/** A node as far as changes of members are concerned. */
export interface MemberNode {
  readonly id: number;
}

/** What the cluster does for {@link Members}. */
export interface MembersHost {
  /** Starts a new node on an empty directory and connects it. Rejects, with nothing left of it, when it cannot start. */
  startNode(witness: boolean): Promise<MemberNode>;
  /** Stops a node for good and forgets it. */
  forgetNode(id: number, keepData: boolean): Promise<void>;
  /** A client of the cluster whose requests end by then; the caller closes it. */
  client(timeoutMs: number): PortClient;
  /** Where the newest configuration stands that the view shows. */
  shownIndex(): number;
  /** Something a user did, for the stream of events. */
  tell(node: number, kind: string, text: string): void;
}

export class Members {
  readonly #host: MembersHost;
  #last: Promise<unknown> = Promise.resolve();

  constructor(host: MembersHost) {
    this.#host = host;
  }

  /** See `ClusterHandle.addNode`. */
  add({ learner = false, witness = false, timeoutMs }: AddNodeOptions = {}): Promise<number> {
    return this.#inTurn(timeoutMs, async (change) => {
      if (learner && witness) throw new OxideError('bad_request', 'A witness is no learner');
      const { id } = await this.#start(witness);
      const kind = learner ? 'addLearner' : witness ? 'addWitness' : 'add';
      const becomes = witness ? 'witness' : 'voter';
      try {
        await change.make([{ kind, node: id, address: '' }], (status) => standing(status, id) !== undefined);
        if (!learner) await change.until(`node ${id} votes`, (status) => standing(status, id) === becomes);
      } catch (error) {
        await this.#undo(id);
        throw error;
      }
      return id;
    });
  }

  /** See `ClusterHandle.removeNode`. */
  remove(id: number, { keepData = true, timeoutMs }: RemoveNodeOptions = {}): Promise<void> {
    return this.#inTurn(timeoutMs, async (change) => {
      this.#host.tell(id, 'remove', 'is taken out of the cluster');
      await change.handOverFrom(id);
      await change.make([{ kind: 'remove', node: id }], (status) => standing(status, id) === undefined);
      await this.#host.forgetNode(id, keepData);
    });
  }

  /** See `ClusterHandle.replaceNode`. @returns the id of the new node */
  replace(old: number, { keepData = true, timeoutMs }: RemoveNodeOptions = {}): Promise<number> {
    return this.#inTurn(timeoutMs, async (change) => {
      if (standing(await change.status(), old) === 'witness')
        throw new OxideError('bad_request', `Node ${old} is a witness: remove it, and add another`);
      const { id } = await this.#start(false);
      this.#host.tell(id, 'replace', `is to take the place of n${old}`);
      try {
        await change.make(
          [{ kind: 'addLearner', node: id, address: '' }],
          (status) => standing(status, id) !== undefined,
        );
        await change.caughtUp(id);
        await change.handOverFrom(old);
        const isMember = standing(await change.status(), old) !== undefined;
        await change.make(
          [{ kind: 'promote', node: id }, ...(isMember ? [{ kind: 'remove', node: old } as const] : [])],
          (status) => standing(status, id) === 'voter' && standing(status, old) === undefined,
        );
      } catch (error) {
        await this.#undo(id);
        throw error;
      }
      await this.#host.forgetNode(old, keepData);
      return id;
    });
  }

  /** See `ClusterHandle.promoteNode`. */
  promote(id: number, { timeoutMs }: ChangeOptions = {}): Promise<void> {
    return this.#inTurn(timeoutMs, (change) =>
      change.make([{ kind: 'promote', node: id }], (status) => standing(status, id) === 'voter'),
    );
  }

  /** See `ClusterHandle.transferLeader`. @returns who leads */
  transfer(to: number, { timeoutMs }: ChangeOptions = {}): Promise<number> {
    return this.#inTurn(timeoutMs, (change) => change.transfer(to));
  }

  async #start(witness: boolean): Promise<MemberNode> {
    const node = await this.#host.startNode(witness);
    this.#host.tell(node.id, 'add', 'starts, and waits to be added');
    return node;
  }

  /** Takes a new node out again. If the cluster cannot even do that now, the node stays, for it may count already. */
  async #undo(id: number): Promise<void> {
    const client = this.#host.client(UNDO_MS);
    try {
      const isGone = (status: NodeStatus): boolean => standing(status, id) === undefined;
      await new Change(client, UNDO_MS).make([{ kind: 'remove', node: id }], isGone);
    } catch {
      return this.#host.tell(id, 'add', 'was to be taken out again, and the cluster does not answer');
    } finally {
      await client.close();
    }
    await this.#host.forgetNode(id, false);
  }

  /** One change after the other: the leader takes one at a time anyway. */
  async #inTurn<T>(timeoutMs: number | undefined, run: (change: Change) => Promise<T>): Promise<T> {
    const before = this.#last;
    const mine = (async () => {
      await before.catch(() => undefined);
      const client = this.#host.client(timeoutMs ?? TIMEOUT_MS);
      try {
        const change = new Change(client, timeoutMs ?? TIMEOUT_MS);
        const result = await run(change);
        // Whoever looks at the view now sees what was done.
        const { configIndex } = (await change.status()).raft;
        for (let waited = 0; this.#host.shownIndex() < configIndex && waited < SHOWN_MS; waited += POLL_MS)
          // oxlint-disable-next-line no-await-in-loop -- threads report ten times a second
          await sleep(POLL_MS);
        return result;
      } finally {
        await client.close();
      }
    })();
    this.#last = mine;
    return mine;
  }
}

/** One change on its way, with its deadline. */
class Change {
  readonly #client: PortClient;
  readonly #timeoutMs: number;
  readonly #untilMs: number;

  constructor(client: PortClient, timeoutMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#untilMs = performance.now() + timeoutMs;
  }

  /** Makes a change. After an answer that tells nothing, `isDone` looks whether it was made. */
  async make(changes: readonly MemberChange[], isDone: (status: NodeStatus) => boolean): Promise<void> {
    const isRemoval = changes.some(({ kind }) => kind === 'remove');
    for (;;) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- again only when the first attempt came to nothing
        await this.#client.changeMembers(changes);
        return;
      } catch (error) {
        if (!(error instanceof OxideError) || !MAY_BE_MADE.includes(error.code)) throw error;
        // oxlint-disable-next-line no-await-in-loop
        if (await this.#isMade(isDone)) return;
        // A removal looks again: the addition that it is to undo may come true at this moment.
        const isFinal = error.code === 'already_member' || (error.code === 'not_member' && !isRemoval);
        if (isFinal || performance.now() > this.#untilMs) throw error;
      }
      // oxlint-disable-next-line no-await-in-loop
      await sleep(POLL_MS);
    }
  }

  /** The account of the leader. */
  async status(): Promise<NodeStatus> {
    let status: NodeStatus | undefined;
    await this.until('a leader answers', (found) => {
      status = found;
      return true;
    });
    if (status === undefined) throw new OxideError('unavailable', 'No leader answers');
    return status;
  }

  /** Waits until the leader's account is as wanted. */
  async until(what: string, isTrue: (status: NodeStatus) => boolean): Promise<void> {
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- asks again and again
      const status = await this.#client.status();
      if (status.raft.role === 'leader' && isTrue(status)) return;
      this.#checkTime(what);
      // oxlint-disable-next-line no-await-in-loop
      await sleep(POLL_MS);
    }
  }

  /** Waits until a learner holds all that the leader held twice, the second time soon: then it keeps up (thesis §4.2.1). */
  async caughtUp(id: number): Promise<void> {
    for (let round = 0; round < 2; round++) {
      // oxlint-disable-next-line no-await-in-loop -- the second round begins where the first ends
      const { last } = (await this.status()).raft;
      // oxlint-disable-next-line no-await-in-loop
      await this.until(`node ${id} has caught up`, ({ raft }) => {
        const peer = raft.peers.find((each) => each.id === id);
        return peer !== undefined && peer.match >= last.index;
      });
    }
  }

  /** If this node leads, another does afterwards, so that nobody waits for an election. */
  async handOverFrom(id: number): Promise<void> {
    const { raft } = await this.status();
    if (raft.id !== id || raft.config.voters.length < 2) return;
    try {
      await this.transfer(0);
    } catch {
      // Then it leads until it is removed, and the others elect a leader.
    }
  }

  async transfer(to: number): Promise<number> {
    const { raft: before } = await this.status();
    let isDoubtful = false;
    for (;;) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- again only when nothing came of it
        return await this.#client.transferLeader(to);
      } catch (error) {
        if (!(error instanceof OxideError) || !['change_pending', 'unknown'].includes(error.code))
          throw error;
        isDoubtful ||= error.code === 'unknown';
      }
      // oxlint-disable-next-line no-await-in-loop
      const { raft } = await this.status();
      // An order that was given up may have come true late. Whoever leads then is whom it was for.
      if (to === 0 ? isDoubtful && raft.id !== before.id : raft.id === to) return raft.id;
      if (isDoubtful) this.#checkTime('leadership is handed over, and it may or may not be still', 'unknown');
      else this.#checkTime('leadership is handed over');
      // oxlint-disable-next-line no-await-in-loop
      await sleep(POLL_MS);
    }
  }

  /** Whether the change is in effect and committed: before that it may still be taken back. */
  async #isMade(isDone: (status: NodeStatus) => boolean): Promise<boolean> {
    if (!isDone(await this.status())) return false;
    await this.until('the change of members is committed', ({ raft }) => raft.commit >= raft.configIndex);
    return isDone(await this.status());
  }

  #checkTime(what: string, code: ErrorCode = 'unavailable'): void {
    if (performance.now() < this.#untilMs) return;
    throw new OxideError(code, `Not within ${this.#timeoutMs} ms: ${what}`);
  }
}

function standing({ members }: NodeStatus, id: number): MemberStanding | undefined {
  return members.find((member) => member.id === id)?.standing;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
