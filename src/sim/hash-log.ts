/**
 * A log known only by hashes: for every position its term and the rolling hash of everything up to it, so that two logs
 * are compared in one step. It follows what a node reports of its log.
 */
import { assert, at } from '../lib/assert.ts';
import type { LogIndex, Term } from '../raft/entry.ts';
import type { Observation } from './host.ts';

/** Positions dropped from the front are really given back once there are this many of them. */
const SLACK = 1024;

export class HashLog {
  #baseIndex: LogIndex = 0;
  #baseHash = 0;
  /** The front of the arrays that is forgotten already. */
  #skip = 0;
  #hashes: number[] = [];
  #terms: Term[] = [];

  get baseIndex(): LogIndex {
    return this.#baseIndex;
  }

  get lastIndex(): LogIndex {
    return this.#baseIndex + this.#hashes.length - this.#skip;
  }

  /** The term of the last entry; 0 when there is none behind the base. */
  get lastTerm(): Term {
    return this.#hashes.length > this.#skip ? at(this.#terms, this.#terms.length - 1) : 0;
  }

  /** Hash of the log up to `index`; undefined where the log has nothing, or has forgotten it. */
  hashAt(index: LogIndex): number | undefined {
    if (index === this.#baseIndex) return this.#baseHash;
    return index < this.#baseIndex ? undefined : this.#hashes[this.#skip + index - this.#baseIndex - 1];
  }

  /** Term of the entry at `index`; undefined at the base and where there is none. */
  termAt(index: LogIndex): Term | undefined {
    return index <= this.#baseIndex ? undefined : this.#terms[this.#skip + index - this.#baseIndex - 1];
  }

  /** Starts over behind a base. */
  reset(base: Observation['base']): void {
    this.#baseIndex = base.index;
    this.#baseHash = base.hash;
    this.#skip = 0;
    this.#hashes = [];
    this.#terms = [];
  }

  push(entry: Observation['appended'][number]): void {
    assert(entry.index === this.lastIndex + 1, `A gap in the log before ${entry.index}`);
    this.#hashes.push(entry.hash);
    this.#terms.push(entry.term);
  }

  /** Drops everything behind `index`, which is at or behind the base. */
  cutAfter(index: LogIndex): void {
    assert(index >= this.#baseIndex && index <= this.lastIndex, `Cannot cut a log behind ${index}`);
    this.#hashes.length = this.#skip + index - this.#baseIndex;
    this.#terms.length = this.#hashes.length;
  }

  /** Forgets what lies before `index`, which the log has. */
  forget(index: LogIndex): void {
    const hash = this.hashAt(index);
    assert(hash !== undefined, `Cannot forget up to ${index}, which the log does not have`);
    this.#skip += index - this.#baseIndex;
    this.#baseIndex = index;
    this.#baseHash = hash;
    if (this.#skip < SLACK || this.#skip * 2 < this.#hashes.length) return;
    this.#hashes.splice(0, this.#skip);
    this.#terms.splice(0, this.#skip);
    this.#skip = 0;
  }
}
