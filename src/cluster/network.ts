/** Partitions, cut nodes and link faults as people name them, written into the table that the threads read. */
import { OxideError } from '../lib/errors.ts';
import { LinkTable } from '../net/faults.ts';
import type { LinkFaults } from './api.ts';

export class Network {
  readonly #table: LinkTable = new LinkTable();
  readonly #nodeCount: number;
  /** Group number per node, all 0 without a partition. */
  #groups: readonly number[];
  readonly #isolated: Set<number> = new Set();
  readonly #links: Map<string, LinkFaults> = new Map();

  constructor(nodeCount: number) {
    this.#nodeCount = nodeCount;
    this.#groups = Array.from({ length: nodeCount }, () => 0);
  }

  /** The table, to be shared with the threads. */
  get buffer(): SharedArrayBuffer {
    return this.#table.buffer;
  }

  /** Cuts every link between different groups. Nodes not named form one more group. */
  partition(groups: readonly (readonly number[])[]): void {
    const byNode = Array.from({ length: this.#nodeCount }, () => -1);
    for (const [group, ids] of groups.entries()) {
      for (const id of ids) {
        if (!Number.isInteger(id) || id < 1 || id > this.#nodeCount)
          throw new OxideError('bad_request', `There is no node ${id}`);
        if (byNode[id - 1] !== -1) throw new OxideError('bad_request', `Node ${id} is in two groups`);
        byNode[id - 1] = group;
      }
    }
    this.#groups = byNode.map((group) => (group === -1 ? groups.length : group));
    this.#write();
  }

  isolate(id: number): void {
    this.#isolated.add(id);
    this.#write();
  }

  rejoin(id: number): void {
    this.#isolated.delete(id);
    this.#write();
  }

  link(from: number, to: number, faults: LinkFaults): void {
    const { loss = 0, delayMs = 0 } = faults;
    if (!(loss >= 0 && loss <= 1))
      throw new OxideError('bad_request', `Loss is ${loss}, not between 0 and 1`);
    if (!(delayMs >= 0 && delayMs <= 60_000))
      throw new OxideError('bad_request', `Delay is ${delayMs} ms, not between 0 and 60000`);
    if (from === to) throw new OxideError('bad_request', `Node ${from} has no link to itself`);
    this.#links.set(`${from}>${to}`, faults);
    this.#write();
  }

  heal(): void {
    this.#groups = this.#groups.map(() => 0);
    this.#isolated.clear();
    this.#links.clear();
    this.#write();
  }

  isIsolated(id: number): boolean {
    return this.#isolated.has(id);
  }

  /** `A`, `B`, … in the order of the groups' smallest nodes. */
  groupOf(id: number): string {
    const seen = [...new Set(this.#groups)];
    return String.fromCharCode(65 + seen.indexOf(this.#groups[id - 1] ?? 0));
  }

  #write(): void {
    for (let from = 1; from <= this.#nodeCount; from++) {
      for (let to = 1; to <= this.#nodeCount; to++) {
        if (from === to) continue;
        const faults = this.#links.get(`${from}>${to}`) ?? {};
        const isCut =
          this.#groups[from - 1] !== this.#groups[to - 1] ||
          this.#isolated.has(from) ||
          this.#isolated.has(to);
        const blocked = isCut || faults.blocked === true;
        this.#table.set(from, to, { blocked, loss: faults.loss ?? 0, delayMs: faults.delayMs ?? 0 });
      }
    }
  }
}
