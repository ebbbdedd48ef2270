/** Hand-made runs of a few fake nodes before the judge. */
import { expect } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { Invariants } from '../../src/sim/invariants.ts';
import { type InvariantName, InvariantViolation } from '../../src/sim/violation.ts';
import { FakeNode } from './fake-node.ts';

/** Some nodes and their judge. */
export class Story {
  readonly judge: Invariants;
  readonly nodes: readonly FakeNode[];
  readonly #lives: Map<number, number> = new Map();

  /** @param count of voters, the first of `all` nodes */
  constructor(count = 3, all: number = count) {
    const ids = Array.from({ length: all }, (_, i) => i + 1);
    const voters = ids.slice(0, count);
    this.judge = new Invariants({ voters });
    this.nodes = ids.map((id) => new FakeNode(id, voters));
    for (const id of ids) this.start(id);
  }

  node(id: number): FakeNode {
    return at(this.nodes, id - 1);
  }

  start(id: number): void {
    const life = (this.#lives.get(id) ?? 0) + 1;
    this.#lives.set(id, life);
    this.judge.started(id, life);
    this.node(id).restarts();
  }

  /** They are looked at, in this order. */
  look(...ids: number[]): void {
    for (const id of ids.length === 0 ? this.nodes.map((node) => node.id) : ids)
      this.judge.observed(id, this.node(id).show());
  }

  down(id: number, inTurn = false): void {
    this.judge.wentDown(id, { inTurn, granted: [] });
  }

  /** n1 is elected in term 1 by n2 (and n3 of five), and all have entries up to `what`; nothing is committed. */
  elect(what: string): this {
    for (const id of this.nodes.length > 3 ? [2, 3] : [2]) this.node(id).votes(1, 1);
    this.look();
    this.node(1).leads(1).append(1, what);
    this.look(1);
    for (const node of this.nodes) if (node.id !== 1) node.copies(this.node(1));
    this.look();
    return this;
  }

  /** Everything that n1 has is committed everywhere. */
  commit(): this {
    for (const node of this.nodes) node.commits(this.node(1).entries.length);
    this.look();
    return this;
  }
}

function violationOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InvariantViolation) return error.invariant;
    throw error;
  }
  return 'none';
}

/** `run` must be found out under this name. */
export function expectViolation(name: InvariantName, run: () => void): void {
  expect(violationOf(run)).toBe(name);
}
