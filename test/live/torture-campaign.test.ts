/** The judges of a torture campaign see what is wrong with a store: here stores that are wrong in one way each. */
import { readFileSync, rmSync } from 'node:fs';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { ClusterClient } from '../../src/cluster/api.ts';
import { textOf, utf8 } from '../../src/lib/bytes.ts';
import { OxideError } from '../../src/lib/errors.ts';
import { parseHistory } from '../../src/sim/history.ts';
import { DamageCounter, type TortureTarget } from './target.ts';
import { type TortureResult, torture } from './torture-campaign.ts';

type Rows = Map<string, string>;

/** What is wrong with a store. */
type Flaw = 'none' | 'loses' | 'reads stale' | 'applies twice' | 'lies about failure' | 'dies';

/** A store in memory with three nodes that share its rows; a disturbance brings out what is wrong with it. */
class FakeStore implements TortureTarget {
  readonly deaths: string[] = [];
  readonly #flaw: Flaw;
  readonly #damage = new DamageCounter();
  #rows: Rows = new Map();
  /** What node 2 still believes. */
  #stale: Rows | undefined;
  #writeCount = 0;

  constructor(flaw: Flaw) {
    this.#flaw = flaw;
  }

  get damage(): DamageCounter['sum'] {
    return this.#damage.sum;
  }

  async start(): Promise<void> {}

  /** Without a seat: whoever proves that the store runs, and must get an answer. */
  async client(_timeoutMs: number, seat?: number): Promise<ClusterClient> {
    if (seat !== undefined) return this.clientOf(0);
    return clientOf({ rows: () => this.#rows, write: (change) => change(this.#rows) });
  }

  async clientOf(node: number): Promise<ClusterClient> {
    const isDeposed = node === 2 && this.#flaw === 'reads stale';
    const rows = (): Rows => (isDeposed ? (this.#stale ?? this.#rows) : this.#rows);
    return clientOf({ rows, write: (change) => this.#write(change) });
  }

  async disturb(): Promise<string> {
    this.#damage.add('kills');
    if (this.#flaw === 'dies') this.deaths.push('node 1 ended by itself');
    if (this.#flaw === 'reads stale') this.#stale = new Map(this.#rows);
    if (this.#flaw !== 'loses') return 'nothing';
    const before = new Map(this.#rows);
    await new Promise((resolve) => setTimeout(resolve, 50));
    this.#rows = before;
    return 'nothing';
  }

  news(): readonly string[] {
    return ['what the store said'];
  }

  async stop(): Promise<void> {}

  #write(change: (rows: Rows) => void): void {
    this.#writeCount += 1;
    const isChosen = this.#writeCount % 20 === 0;
    if (isChosen && this.#flaw === 'applies twice') {
      setTimeout(() => change(this.#rows), 15);
    }
    change(this.#rows);
    if (isChosen && this.#flaw === 'lies about failure') throw new OxideError('unavailable', 'no leader');
    if (isChosen && this.#flaw === 'none') throw new OxideError('unknown', 'no answer');
  }
}

function text(data: string | Uint8Array | undefined): string | undefined {
  return typeof data === 'object' ? textOf(data) : data;
}

function name(data: string | Uint8Array): string {
  return text(data) ?? '';
}

async function take(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function clientOf(store: {
  readonly rows: () => Rows;
  readonly write: (change: (rows: Rows) => void) => void;
}): ClusterClient {
  const { rows, write } = store;
  const get = async (key: string | Uint8Array): Promise<Uint8Array | undefined> => {
    await take();
    const value = rows().get(name(key));
    return value === undefined ? undefined : utf8(value);
  };
  return {
    get,
    getText: async (key) => text(await get(key)),
    async set(key, value) {
      await take();
      write((all) => void all.set(name(key), name(value)));
      return 1;
    },
    async delete(key) {
      await take();
      const existed = rows().has(name(key));
      write((all) => void all.delete(name(key)));
      return existed;
    },
    async cas(key, expected, value) {
      await take();
      if (rows().get(name(key)) !== text(expected)) return false;
      write((all) => void all.set(name(key), name(value)));
      return true;
    },
    async scan(prefix) {
      await take();
      const found = [...rows()].filter(([key]) => key.startsWith(name(prefix)));
      return found.map(([key, value]) => ({ key: utf8(key), value: utf8(value) }));
    },
    async close() {},
  };
}

async function tortured(flaw: Flaw, history: string = ''): Promise<{ result: TortureResult; said: string }> {
  const said: string[] = [];
  const shape = { mode: 'processes', nodes: 3, clients: 8, snapshotEntries: 1, dataDir: '' } as const;
  const listener = { tell: (line: string) => void said.push(line), status: () => undefined };
  const options = { ...shape, seconds: 10, cycles: flaw === 'none' ? 3 : 30, seed: 1, history };
  const result = await torture(options, listener, undefined, () => new FakeStore(flaw));
  for (const path of result.kept) onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return { result, said: said.join('\n') };
}

test('torture() of a store without a flaw finds nothing, judges everything, and writes the history down', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'oxide-kv-history-'));
  const path = join(directory, 'history.jsonl');
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const { result } = await tortured('none', path);
  expect(result.violations).toEqual([]);
  expect(result.kept).toEqual([path]);
  const { ok, failed, unknown } = result.operations;
  expect(ok).toBeGreaterThan(100);
  expect(unknown).toBeGreaterThan(0);
  expect({ checked: result.checked, undecided: result.undecided }).toEqual({
    checked: ok + failed + unknown,
    undecided: 0,
  });
  const history = parseHistory(readFileSync(path));
  expect(history).toHaveLength(result.checked);
  // Nobody goes on under the name of a process that never got its answer.
  const silenced = new Set<number>();
  for (const { process, outcome } of history) {
    expect(silenced).not.toContain(process);
    if (outcome === 'unknown') silenced.add(process);
  }
  expect(silenced.size).toBe(unknown);
});

test.each([
  ['loses', /was acknowledged|no order/],
  ['reads stale', /was acknowledged|no order/],
  ['applies twice', /was acknowledged|no order/],
  ['lies about failure', /refused as without effect|no order/],
  ['dies', /^node 1 ended by itself$/],
] as const)('torture() of a store that %s says so, and keeps the evidence', async (flaw, pattern) => {
  const { result, said } = await tortured(flaw);
  expect(result.violations.join('\n')).toMatch(pattern);
  expect(result.cycles).toBeLessThan(30);
  expect(said).toContain('WRONG: ');
  expect(said).toContain('  what the store said');
  expect(result.kept).toHaveLength(2);
});

test('torture() ends early when it is told to, with what it has', async () => {
  const interrupted = new AbortController();
  const shape = {
    mode: 'processes',
    nodes: 3,
    clients: 2,
    snapshotEntries: 1,
    dataDir: '',
    history: '',
  } as const;
  const listener = { tell: () => interrupted.abort(), status: () => undefined };
  const options = { ...shape, seconds: 600, cycles: 0, seed: 1 };
  const result = await torture(options, listener, interrupted.signal, () => new FakeStore('none'));
  expect(result.cycles).toBe(1);
  expect(result.checked).toBeGreaterThan(0);
});
