/** Partitions, cut nodes and link faults as people name them, written into the table that the threads read. */
import { OxideError } from '../lib/errors.ts';
import { LinkTable } from '../net/faults.ts';
import type { LinkFaults } from './api.ts';

export class Network {
  readonly #table: LinkTable = new LinkTable();
  readonly #nodes: Set<number> = new Set();
  /** Group of each node that a partition names. Nodes not named form one more group. */
  #groups: ReadonlyMap<number, number> = new Map();
  #groupCount = 0;
  readonly #isolated: Set<number> = new Set();
  readonly #links: Map<string, LinkFaults> = new Map();

  /** The table, to be shared with the threads. */
  get buffer(): SharedArrayBuffer {
    return this.#table.buffer;
  }

  /** There is one more node. While a partition lasts, it is with those that the partition does not name. */
  add(id: number): void {
    this.#nodes.add(id);
    this.#write();
  }

  /** A node is gone, and its faults with it. */
  remove(id: number): void {
    this.rejoin(id);
    for (const other of this.#nodes) {
      this.#links.delete(`${id}>${other}`);
      this.#links.delete(`${other}>${id}`);
    }
    this.#groups = new Map([...this.#groups].filter(([each]) => each !== id));
    this.#write();
    this.#nodes.delete(id);
  }

  /** Cuts every link between different groups. Nodes not named form one more group. */
  partition(groups: readonly (readonly number[])[]): void {
    const byNode = new Map<number, number>();
    for (const [group, ids] of groups.entries()) {
      for (const id of ids) {
        if (!this.#nodes.has(id)) throw new OxideError('bad_request', `There is no node ${id}`);
        if (byNode.has(id)) throw new OxideError('bad_request', `Node ${id} is in two groups`);
        byNode.set(id, group);
      }
    }
    this.#groups = byNode;
    this.#groupCount = groups.length;
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
    this.#groups = new Map();
    this.#groupCount = 0;
    this.#isolated.clear();
    this.#links.clear();
    this.#write();
  }

  isIsolated(id: number): boolean {
    return this.#isolated.has(id);
  }

  /** `A`, `B`, … in the order of the groups' smallest nodes. */
  groupOf(id: number): string {
    const ids = [...this.#nodes].toSorted((a, b) => a - b);
    const seen = [...new Set(ids.map((each) => this.#group(each)))];
    return String.fromCharCode(65 + seen.indexOf(this.#group(id)));
  }

  #group(id: number): number {
    return this.#groups.get(id) ?? this.#groupCount;
  }

  #write(): void {
    for (const from of this.#nodes) {
      for (const to of this.#nodes) {
        if (from === to) continue;
        const faults = this.#links.get(`${from}>${to}`) ?? {};
        const isCut =
          this.#group(from) !== this.#group(to) || this.#isolated.has(from) || this.#isolated.has(to);
        const blocked = isCut || faults.blocked === true;
        this.#table.set(from, to, { blocked, loss: faults.loss ?? 0, delayMs: faults.delayMs ?? 0 });
      }
    }
  }
}
