/**
 * Messages that promise something and wait until the disk has kept the promise (Figure 2, "persistent state"). They leave
 * in the order they were held. However long the disk takes, as many wait as there are writes to wait for: of messages that
 * wait for the same write and say the same, the newest stands for all.
 */
import type { NodeId, Term } from './entry.ts';
import type { Message } from './messages.ts';

interface Held {
  readonly message: Message;
  /** The write that must be durable first; undefined until the next drain numbers it. */
  readonly seq: number | undefined;
}

export class HeldMessages {
  #held: Held[] = [];

  /** How many wait. */
  get count(): number {
    return this.#held.length;
  }

  /** Holds a message until everything changed so far is durable. */
  hold(message: Message): void {
    const last = this.#held.at(-1);
    // Only the newest of several acknowledgements in one turn tells the leader anything.
    if (
      message.kind === 'appendReply' &&
      last?.seq === undefined &&
      last?.message.kind === 'appendReply' &&
      last.message.to === message.to &&
      last.message.term === message.term &&
      last.message.match <= message.match
    ) {
      this.#held.pop();
    }
    this.#held.push({ message, seq: undefined });
  }

  /**
   * What was held since the last call waits for the write `seq`. While that is not durable, each takes the place of an
   * earlier one that says the same.
   */
  number(seq: number, isDurable: boolean): void {
    const first = this.#held.findIndex((held) => held.seq === undefined);
    if (first === -1) return;
    for (const { message } of this.#held.splice(first)) {
      const same = isDurable ? -1 : this.#indexOfSame(message, seq);
      const [earlier] = same === -1 ? [] : this.#held.splice(same, 1);
      this.#held.push({ message: earlier === undefined ? message : both(earlier.message, message), seq });
    }
  }

  /**
   * Takes what may leave, in order. What belongs to an earlier term than `term` is dropped, but for answers to pre-votes:
   * nobody reads it.
   */
  release(term: Term, mayLeave: (seq: number) => boolean): readonly Message[] {
    if (this.#held.length === 0) return NOTHING;
    const waiting: Held[] = [];
    const leaving: Message[] = [];
    for (const held of this.#held) {
      const { message, seq } = held;
      if (message.term < term && !(message.kind === 'voteReply' && message.pre)) continue;
      if (seq === undefined || !mayLeave(seq)) waiting.push(held);
      else leaving.push(message);
    }
    this.#held = waiting;
    return leaving;
  }

  /** What is held never leaves. */
  clear(): void {
    this.#held = [];
  }

  #indexOfSame(message: Message, seq: number): number {
    for (let i = this.#held.length - 1; i >= 0 && this.#held[i]?.seq === seq; i--) {
      const earlier = this.#held[i]?.message;
      if (earlier !== undefined && saySame(earlier, message)) return i;
    }
    return -1;
  }
}

const NOTHING: readonly Message[] = [];

function addressed(a: { readonly to: NodeId; readonly term: Term }, b: typeof a): boolean {
  return a.to === b.to && a.term === b.term;
}

/** Whether the later of two messages makes the earlier superfluous, when both leave at the same moment. */
function saySame(earlier: Message, later: Message): boolean {
  if (earlier.kind !== later.kind || !addressed(earlier, later)) return false;
  if (earlier.kind === 'voteReply' && later.kind === 'voteReply')
    return earlier.pre === later.pre && earlier.granted === later.granted;
  if (earlier.kind === 'vote' && later.kind === 'vote') return earlier.pre === later.pre;
  return true;
}

/** What two acknowledgements tell together: the appends may have come in another order than they were sent. */
function both(earlier: Message, later: Message): Message {
  if (earlier.kind === 'appendReply' && later.kind === 'appendReply') {
    const match = Math.max(earlier.match, later.match);
    return { ...later, match, round: Math.max(earlier.round, later.round) };
  }
  if (earlier.kind === 'heartbeatReply' && later.kind === 'heartbeatReply')
    return { ...later, round: Math.max(earlier.round, later.round) };
  return later;
}
