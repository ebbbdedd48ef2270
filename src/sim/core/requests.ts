/** What the simulated clients asked and what they were told, held against what was committed: a register machine with unique commands. */
import { assert, at } from '../../lib/assert.ts';
import type { LogIndex, NodeId } from '../../raft/entry.ts';
import type { Outcome, Refusal } from '../../raft/messages.ts';
import { violated } from './violation.ts';

/** `unknown`: nobody can tell the client whether it happened. */
export type Verdict = 'open' | 'ok' | 'failed' | 'unknown';

/** What each kind of request is told when it is done. */
const ANSWERS: Readonly<Record<Request['kind'], string>> = {
  propose: 'committed',
  read: 'readable',
  change: 'committed',
  transfer: 'transferred',
};

/** One request of a client. Proposals carry their number as payload. */
export interface Request {
  readonly id: number;
  readonly kind: 'propose' | 'read' | 'change' | 'transfer';
  readonly node: NodeId;
  /** The last committed index when it began. */
  readonly committedBefore: LogIndex;
  verdict: Verdict;
  /** Where it was committed, once it is. */
  index: LogIndex;
}

export class Requests {
  readonly #all: Request[] = [];
  readonly counts: Record<Verdict, number> = { open: 0, ok: 0, failed: 0, unknown: 0 };

  get length(): number {
    return this.#all.length;
  }

  /** Begins a request at a node. */
  begin(kind: Request['kind'], node: NodeId, committedBefore: LogIndex): Request {
    const request: Request = {
      id: this.#all.length + 1,
      kind,
      node,
      committedBefore,
      verdict: 'open',
      index: 0,
    };
    this.#all.push(request);
    this.counts.open += 1;
    return request;
  }

  get(id: number): Request {
    return at(this.#all, id - 1);
  }

  /** Every request, oldest first. */
  get all(): readonly Request[] {
    return this.#all;
  }

  /** A request ends. Each ends once. */
  end(id: number, verdict: Exclude<Verdict, 'open'>): void {
    const request = this.get(id);
    if (request.verdict !== 'open') violated('I14 honest outcome', `request ${id} was answered twice`);
    request.verdict = verdict;
    this.counts.open -= 1;
    this.counts[verdict] += 1;
  }

  /** The core answered. `proposalAt`: which proposal is committed at an index. */
  settle(node: NodeId, outcome: Outcome, proposalAt: (index: LogIndex) => number | undefined): Request {
    const request = this.get(outcome.id);
    if (request.node !== node)
      violated(
        'I14 honest outcome',
        `n${node} answers request ${outcome.id}, which went to n${request.node}`,
      );
    if (!outcome.ok) {
      this.end(outcome.id, isCertain(outcome.reason) ? 'failed' : 'unknown');
      if (request.verdict === 'failed' && request.index > 0)
        violated(
          'I14 honest outcome',
          `request ${request.id} was refused and is committed at ${request.index}`,
        );
      return request;
    }
    this.end(outcome.id, 'ok');
    if (ANSWERS[request.kind] !== outcome.kind)
      violated(
        'I14 honest outcome',
        `request ${request.id}, a ${request.kind}, was answered ${outcome.kind}`,
      );
    if (outcome.kind === 'readable') this.#checkRead(request, outcome.index);
    else if (
      outcome.kind === 'committed' &&
      request.kind === 'propose' &&
      proposalAt(outcome.index) !== request.id
    )
      violated(
        'I14 honest outcome',
        `request ${request.id} is said to be committed at ${outcome.index}, where ${proposalAt(outcome.index) ?? 'nothing'} is`,
      );
    return request;
  }

  /** A proposal was committed, by whomever. */
  committed(id: number, index: LogIndex): Request {
    assert(id >= 1 && id <= this.#all.length, 'A proposal is committed that nobody made');
    const request = this.get(id);
    if (request.index !== 0)
      violated('I14 honest outcome', `request ${id} is committed at ${request.index} and again at ${index}`);
    if (request.verdict === 'failed')
      violated('I14 honest outcome', `request ${id} was refused and is committed at ${index}`);
    request.index = index;
    return request;
  }

  #checkRead(request: Request, index: LogIndex): void {
    if (index >= request.committedBefore) return;
    violated(
      'I25 linearizable read',
      `read ${request.id} at n${request.node} sees the log up to ${index}, but ${request.committedBefore} was committed before it began`,
    );
  }
}

/** Whether a refusal says that the request certainly had no effect. */
function isCertain(reason: Refusal): boolean {
  return reason.kind !== 'lostLeadership' || !reason.mayCommit;
}
