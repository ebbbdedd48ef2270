/** Requests of a node, and whoever asks them. */
import { expect } from 'vitest';
import type { LeaderHint, LeaderRequest, Reply } from '../../src/net/protocol.ts';
import { Requests } from '../../src/node/requests.ts';
import type { Refusal } from '../../src/raft/messages.ts';

/** The id of the first request; the others count up from it. */
export const FIRST_ID = 1000;

/** Requests with the replies of each, in the order in which they were asked. */
export class Desk {
  readonly requests: Requests;
  readonly replies: Reply[][] = [];

  constructor(timeoutMs = 500) {
    this.requests = new Requests({ timeoutMs, firstId: FIRST_ID, canRead: true });
  }

  ask(request: LeaderRequest, forward = true): number {
    const got: Reply[] = [];
    this.replies.push(got);
    this.requests.submit(request, { forward }, (reply) => got.push(reply));
    return FIRST_ID + this.replies.length - 1;
  }

  /** The outcome of the only request: a kind, an error's code, or nothing yet. */
  get outcome(): string | undefined {
    const [reply] = this.only;
    return reply?.kind === 'error' ? reply.code : reply?.kind;
  }

  get only(): readonly Reply[] {
    expect(this.replies).toHaveLength(1);
    expect(this.replies[0]?.length).toBeLessThanOrEqual(1);
    return this.replies[0] ?? [];
  }

  /** The core refuses. */
  refuse(id: number, reason: Refusal, leader?: LeaderHint): void {
    this.requests.settle({ id, ok: false, reason }, 0, leader);
  }
}
