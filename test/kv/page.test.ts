/** Page queries: all pages together are the range, at one revision, and none is larger than a page. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import { decodeQuery, encodeQuery } from '../../src/kv/operation-codec.ts';
import { PAGE_BYTES_MAX, PAGE_ROWS_MAX, type PageResult } from '../../src/kv/operation.ts';
import { decodeQueryResult, encodeQueryResult } from '../../src/kv/result-codec.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';

class Script {
  readonly machine = new StateMachine(new MemoryEngine());

  set(key: string, value: Uint8Array): void {
    this.machine.apply(this.machine.applied + 1, encodeCommand({ kind: 'set', key, value }));
  }

  /** One page, through the binary forms. */
  page(start: string, end: string | undefined, revision: number): PageResult {
    const query = decodeQuery(encodeQuery({ kind: 'page', range: { start, end }, revision }));
    const result = decodeQueryResult(encodeQueryResult(this.machine.query(query)));
    if (result.kind !== 'page') throw new Error(`Not a page: ${JSON.stringify(result)}`);
    return result;
  }

  keys(start: string, end: string | undefined, revision: number): readonly string[][] {
    const pages: string[][] = [];
    for (let from = start; ;) {
      const { rows, more } = this.page(from, end, revision);
      pages.push(rows.map(({ key }) => key));
      const last = rows.at(-1);
      if (!more || last === undefined) return pages;
      from = `${last.key}\0`;
    }
  }
}

describe('a page query', () => {
  test('ends with the row that fills it, by rows and by bytes', () => {
    const script = new Script();
    const names = Array.from({ length: PAGE_ROWS_MAX + 1 }, (_, i) => `k${String(i).padStart(6, '0')}`);
    for (const name of names) script.set(name, utf8('v'));
    const byRows = script.keys('', undefined, 0);
    expect(byRows.map((page) => page.length)).toEqual([PAGE_ROWS_MAX, 1]);
    expect(byRows.flat()).toEqual(names);
    for (const name of ['x1', 'x2', 'x3']) script.set(name, new Uint8Array(PAGE_BYTES_MAX / 2));
    expect(script.keys('x', 'y', 0)).toEqual([['x1', 'x2'], ['x3']]);
  });

  test('reads an earlier revision, with everything that a row has', () => {
    const script = new Script();
    script.set('a', utf8('1'));
    script.set('b', utf8('2'));
    const { revision } = script.machine;
    script.set('a', utf8('3'));
    script.set('c', utf8('4'));
    const page = script.page('', undefined, revision);
    expect(page.rows).toEqual([
      { key: 'a', createRevision: 2, modRevision: 2, version: 1, lease: 0n, value: utf8('1') },
      { key: 'b', createRevision: 3, modRevision: 3, version: 1, lease: 0n, value: utf8('2') },
    ]);
    expect(script.page('a', 'b', 0).rows).toMatchObject([{ createRevision: 2, modRevision: 4, version: 2 }]);
    expect(script.page('b', 'a', 0)).toMatchObject({ rows: [], more: false });
  });

  test('is refused where that revision is gone or not there yet', () => {
    const { machine } = new Script();
    const at = (revision: number): unknown =>
      machine.query({ kind: 'page', range: { start: '', end: undefined }, revision });
    expect(at(99)).toMatchObject({ kind: 'refused', reason: 'futureRevision' });
    for (let i = 1; i <= 3; i++)
      machine.apply(i, encodeCommand({ kind: 'set', key: 'a', value: utf8(String(i)) }));
    const operation = { kind: 'compact', revision: 3 } as const;
    machine.apply(4, encodeCommand({ kind: 'operation', operation }));
    expect(at(2)).toMatchObject({ kind: 'refused', reason: 'compacted' });
  });
});
