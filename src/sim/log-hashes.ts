/**
 * Gives every log position of a run its rolling hash: over all entries up to it. Two logs that agree at a position have equal
 * hashes there, so that comparing whole logs takes one comparison (log matching, Raft §5.3). A log that begins behind a
 * snapshot of a peer continues the hash which that position got where it was first seen.
 */
import { at } from '../lib/assert.ts';
import type { LogIndex, NodeId, Term } from '../raft/entry.ts';
import type { Grant, Observation, Sight } from './host.ts';

/** Terms of a run are far fewer than this, so that (term, index) fits in one exact number. */
const INDEXES = 2 ** 32;

interface Chain {
  /** Position of `hashes[0]`. */
  base: LogIndex;
  hashes: number[];
}

/** The hashes of one run. */
export class LogHashes {
  /** The hash at each (term, index) that any log ever had. */
  readonly #known: Map<number, number> = new Map([[0, 0]]);
  readonly #chains: Map<NodeId, Chain> = new Map();

  /** The node begins a new life: the next sight shows its whole log. */
  restarted(node: NodeId): void {
    this.#chains.delete(node);
  }

  /** @returns undefined when the log begins behind a position that no log ever had */
  observe(node: NodeId, sight: Sight, granted: readonly Grant[]): Observation | undefined {
    const chain = this.#rebased(node, sight);
    if (chain === undefined) return undefined;
    if (sight.cutAfter !== undefined) chain.hashes.length = Math.max(1, sight.cutAfter - chain.base + 1);
    const appended: { index: LogIndex; term: Term; hash: number }[] = [];
    let previous = at(chain.hashes, chain.hashes.length - 1);
    for (const { index, term, crc } of sight.appended) {
      const hash = roll(previous, term, crc);
      previous = hash;
      chain.hashes.push(hash);
      appended.push({ index, term, hash });
      const key = keyOf(term, index);
      if (!this.#known.has(key)) this.#known.set(key, hash);
    }
    const base = { index: chain.base, hash: at(chain.hashes, 0) };
    const { raft, storage, isAbstaining, cutAfter, snapshotIndex, stateHash } = sight;
    return { raft, storage, isAbstaining, base, cutAfter, appended, granted, snapshotIndex, stateHash };
  }

  #rebased(node: NodeId, { base }: Sight): Chain | undefined {
    const hash = this.#known.get(keyOf(base.term, base.index));
    if (hash === undefined) return undefined;
    const chain = this.#chains.get(node);
    // A snapshot of a peer may end at an entry that the own log had differently.
    if (chain?.hashes[base.index - chain.base] === hash) {
      if (base.index > chain.base) chain.hashes.splice(0, base.index - chain.base);
      chain.base = base.index;
      return chain;
    }
    const fresh: Chain = { base: base.index, hashes: [hash] };
    this.#chains.set(node, fresh);
    return fresh;
  }
}

function keyOf(term: Term, index: LogIndex): number {
  return term * INDEXES + index;
}

function roll(previous: number, term: Term, crc: number): number {
  let h = Math.imul(previous ^ crc, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13) ^ term, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
