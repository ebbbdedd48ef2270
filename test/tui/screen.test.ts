import { afterEach, describe, expect, it } from 'vitest';
import type { FrameSize } from '../../src/tui/frame-sink.ts';
import { width } from '../../src/tui/text.ts';
import { FakeCluster } from './fake-cluster.ts';
import { Bench, emulate, feed, screenOf } from './harness.ts';

let open: Bench[] = [];

afterEach(() => {
  for (const bench of open) bench.close();
  open = [];
});

function staged(size: FrameSize, nodeCount: number, look: { readonly ascii?: boolean } = {}): Bench {
  const bench = new Bench(size, nodeCount, look);
  open.push(bench);
  const cluster = new FakeCluster(nodeCount);
  cluster.stage();
  bench.attach(cluster);
  return bench;
}

/** Seven nodes with every standing that a node can have. */
function mixed(ascii: boolean): string {
  const bench = new Bench({ columns: 120, rows: 40 }, 7, { ascii });
  open.push(bench);
  const cluster = new FakeCluster(7);
  cluster.stage();
  cluster.setStanding(1, 'learner');
  cluster.setStanding(3, 'leaving');
  cluster.setStanding(4, 'learner');
  cluster.setStanding(5, 'none');
  cluster.setStanding(6, 'none');
  bench.attach(cluster);
  return frameOf(bench);
}

/** The frame, after checking that it keeps within the screen and leaves the last cell empty. */
function frameOf(bench: Bench): string {
  const text = bench.text();
  const { columns, rows } = bench.state.size;
  const lines = text.split('\n');
  expect(lines.length).toBeLessThanOrEqual(rows);
  for (const line of lines) expect(width(line), line).toBeLessThanOrEqual(columns);
  if (lines.length === rows) expect(width((lines.at(-1) ?? '').trimEnd())).toBeLessThan(columns);
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

describe('the screen', () => {
  it.each([
    ['120x40', { columns: 120, rows: 40 }, 5],
    ['120x40-7-nodes', { columns: 120, rows: 40 }, 7],
    ['120x40-3-nodes', { columns: 120, rows: 40 }, 3],
    ['100x34', { columns: 100, rows: 34 }, 5],
    ['80x24', { columns: 80, rows: 24 }, 5],
    ['80x50-portrait', { columns: 80, rows: 50 }, 3],
    ['60x16', { columns: 60, rows: 16 }, 5],
    ['60x16-9-nodes', { columns: 60, rows: 16 }, 9],
    ['52x14', { columns: 52, rows: 14 }, 5],
  ] as const)('%s is as drawn', async (name, size, nodeCount) => {
    const frame = frameOf(staged(size, nodeCount));
    await expect(frame).toMatchFileSnapshot(`golden/${name}.txt`);
    // The hint for help is there at every size.
    if (name !== '52x14') expect(frame.split('\n').at(-2)).toMatch(/ \? help$/);
  });

  it('--ascii is as drawn, and ASCII', async () => {
    const frame = frameOf(staged({ columns: 120, rows: 40 }, 5, { ascii: true }));
    expect(frame).toMatch(/^[\u0020-\u007e\n]*$/);
    await expect(frame).toMatchFileSnapshot('golden/120x40-ascii.txt');
    const help = staged({ columns: 80, rows: 24 }, 5, { ascii: true });
    help.type('?');
    expect(frameOf(help)).toMatch(/^[\u0020-\u007e\n]*$/);
  });

  it.each([
    ['help-80x24', '?'],
    ['keys-80x24', '\t'],
    ['partition-80x24', 'p12'],
    ['toast-80x24', '3r'],
  ] as const)('%s is as drawn', async (name, keys) => {
    const bench = staged({ columns: 80, rows: 24 }, 5);
    bench.type(keys);
    await expect(frameOf(bench)).toMatchFileSnapshot(`golden/${name}.txt`);
  });

  it.each([
    ['members-120x40', { columns: 120, rows: 40 }],
    ['members-80x24', { columns: 80, rows: 24 }],
    ['members-60x16', { columns: 60, rows: 16 }],
  ] as const)('%s is as drawn: a joint change, a learner, a transfer', async (name, size) => {
    const bench = new Bench(size, 4);
    open.push(bench);
    const cluster = new FakeCluster(4);
    cluster.stage();
    cluster.setStanding(1, 'promoting');
    cluster.setStanding(2, 'joining');
    cluster.setStanding(4, 'leaving');
    bench.attach(cluster);
    bench.type('4t');
    await expect(frameOf(bench)).toMatchFileSnapshot(`golden/${name}.txt`);
  });

  it('marks what a node is to the cluster, also where it does not run, in ASCII too', () => {
    expect(mixed(false)).toMatch(/n1 +☆ learner .*learns 77 %  running/);
    expect(mixed(false)).toMatch(/n3 +★ LEADER .*A +LEAVING running/);
    expect(mixed(false)).toMatch(/n4 +‖ frozen .*A +LEARNER frozen/);
    expect(mixed(false)).toMatch(/n5 +✕ crashed .*A +OUTSIDE crashed/);
    expect(mixed(false)).toMatch(/n6 +□ outside .*A +running/);
    expect(mixed(false)).toContain('quorum 2/3 and 2/2, 3 up, 2 learners');
    const ascii = mixed(true);
    expect(ascii).toMatch(/^[\u0020-\u007e\n]*$/);
    expect(ascii).toMatch(/n1 +N learner .*learns 77 %/);
    expect(ascii).toMatch(/n6 +o outside/);
  });

  it('marks a witness, which is counted and never stands', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 3);
    open.push(bench);
    const cluster = new FakeCluster(3);
    cluster.setStanding(1, 'witness');
    bench.attach(cluster);
    const frame = frameOf(bench);
    expect(frame).toContain('quorum 2/3, 3 up');
    expect(frame).toContain('◌ witness');
    expect(frame).toContain('votes, keeps no data');
  });

  it.each([
    [{ columns: 120, rows: 40 }, /running 12\.4s {2}lease/, /running 12\.4s {2}to n2/],
    [{ columns: 80, rows: 24 }, /LEADER .*A +lease running/, /LEADER .*A +to n2 running/],
  ])('says that a leader has a lease, or hands over, at %j', (size, lease, to) => {
    const bench = new Bench(size, 5);
    open.push(bench);
    const cluster = new FakeCluster(5);
    bench.attach(cluster);
    expect(frameOf(bench)).not.toMatch(lease);
    cluster.leaseMs = 180;
    cluster.publish();
    expect(frameOf(bench)).toMatch(lease);
    cluster.transferTo = 2;
    cluster.publish();
    expect(frameOf(bench)).toMatch(to);
    expect(frameOf(bench)).not.toMatch(lease);
    cluster.node(3).freeze();
    expect(frameOf(bench)).not.toMatch(to);
  });

  it('counts the majority that is missing', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 5);
    open.push(bench);
    const cluster = new FakeCluster(5);
    for (const id of [4, 5]) cluster.setStanding(id, 'joining');
    for (const id of [1, 2]) cluster.setStanding(id, 'leaving');
    bench.attach(cluster);
    expect(frameOf(bench)).toContain('quorum 2/3 and 2/3, 5 up');
    void cluster.node(1).crash();
    void cluster.node(2).crash();
    expect(frameOf(bench)).toContain('NO QUORUM: 1 up, 2 needed and 3 up, 2 needed');
    for (const id of [1, 2, 4, 5]) cluster.setStanding(id, 'learner');
    expect(frameOf(bench)).toContain('quorum 1/1, 1 up, 4 learners');
  });

  it('tells that a learner gets a snapshot', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 3);
    open.push(bench);
    const cluster = new FakeCluster(3);
    cluster.setStanding(1, 'learner');
    bench.attach(cluster);
    const view = cluster.view();
    const nodes = view.nodes.map((node) => {
      if (node.account === undefined) return node;
      const peers = node.account.peers.map((peer) => ({ ...peer, mode: 'snapshot' as const }));
      return { ...node, account: { ...node.account, peers } };
    });
    bench.act({ kind: 'view', view: { ...view, nodes }, nowMs: bench.nowMs });
    expect(frameOf(bench)).toContain('│learns by snapshot');
  });

  it('keeps two-digit nodes in their columns', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 9);
    open.push(bench);
    const cluster = new FakeCluster(9);
    bench.attach(cluster);
    const view = cluster.view();
    const nodes = view.nodes.map((node) => ({ ...node, id: node.id === 9 ? 12 : node.id }));
    bench.act({ kind: 'view', view: { ...view, nodes }, nowMs: bench.nowMs });
    const lines = frameOf(bench).split('\n');
    const eighth = lines.filter((line) => /^.? ?n8 /.test(line));
    const twelfth = lines.filter((line) => /^.? ?n12 /.test(line));
    expect(eighth).toHaveLength(2);
    for (const [i, line] of eighth.entries()) expect(twelfth[i]?.indexOf('○')).toBe(line.indexOf('○'));
  });

  it('asks in the last line but one, and says what is under way there', () => {
    const bench = staged({ columns: 80, rows: 24 }, 3);
    const bottom = (): string => frameOf(bench).split('\n').slice(-3).join('\n');
    bench.type('2D');
    expect(bottom()).toMatch(/^ {2}remove n2 for good\? Its data stay on disk {3}y\/n$/m);
    expect(bottom()).toMatch(/^ y yes {2}n no {2}Esc cancel +\? help$/m);
    bench.type('y');
    expect(bottom()).toMatch(/^ +under way: remove n2…$/m);
    bench.type('a');
    expect(bottom()).toMatch(/^ {2}One at a time: "remove n2" is under way +under way: remove n2…$/m);
    bench.type('1S');
    expect(bottom()).toMatch(/ {4}under way: remove n2, snapshot n1…$/m);
    bench.type('4');
    expect(bottom()).toMatch(/^ {2}There is no n4 +under way: remove n2, snapshot n1…$/m);
    bench.act({ kind: 'toast', text: 'w'.repeat(60), nowMs: bench.nowMs });
    expect(bottom()).toMatch(/^ {2}w{60}$/m);
  });

  it('scrolls the help where it does not fit', () => {
    const bench = staged({ columns: 60, rows: 16 }, 3);
    bench.type('?');
    expect(frameOf(bench)).toContain('↓ more, Esc closes');
    expect(frameOf(bench)).not.toContain('□ outside');
    bench.type('\u001b[B'.repeat(30));
    expect(frameOf(bench)).toContain('□ outside: no member');
    expect(frameOf(bench)).not.toContain('more');
    bench.type('\u001b[A');
    expect(frameOf(bench)).toContain('↓ more');
  });

  it('shows results, a prompt and the workload', async () => {
    const bench = staged({ columns: 120, rows: 40 }, 5);
    const result = { request: 'set x 1', answer: 'at index 12', tookMs: 4.2 } as const;
    bench.act({ kind: 'result', result: { ...result, id: 1, verdict: 'ok' } });
    bench.act({
      kind: 'result',
      result: { ...result, id: 2, verdict: 'refused', answer: 'No leader is known' },
    });
    bench.act({
      kind: 'result',
      result: { ...result, id: 3, verdict: 'unknown', answer: 'No answer in time' },
    });
    bench.act({ kind: 'result', result: { ...result, id: 4, verdict: 'waiting', answer: '' } });
    bench.act({
      kind: 'workload',
      stats: { isOn: true, okCount: 120, refusedCount: 2, unknownCount: 1, tookMsP50: 3.4 },
    });
    bench.type('\t\tw');
    await expect(frameOf(bench)).toMatchFileSnapshot('golden/120x40-results.txt');
  });

  it('is there before the cluster is', async () => {
    const bench = new Bench({ columns: 80, rows: 24 }, 5);
    open.push(bench);
    await expect(frameOf(bench)).toMatchFileSnapshot('golden/starting-80x24.txt');
  });

  it('keeps the prompt and its cursor in sight, however long the text', () => {
    const bench = staged({ columns: 60, rows: 16 }, 3);
    bench.type(`w\u0015${'漢'.repeat(60)}end`);
    expect(frameOf(bench).split('\n').at(-3)).toMatch(/write › ….*漢end▏$/);
    bench.type(`\u001b[H`);
    expect(frameOf(bench).split('\n').at(-3)).toContain('write › 漢漢');
  });

  it('has no hue without colour, and says all the same', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 5, { colour: false });
    open.push(bench);
    const cluster = new FakeCluster(5);
    cluster.stage();
    bench.attach(cluster);
    // oxlint-disable-next-line no-control-regex -- ESC is what starts one
    const codes = new Set(bench.draw().match(/\u001b\[[0-9;]*m/g));
    const hues = [...codes].filter((code) => /[[;](3[0-8]|4[0-8])[;m]/.test(code));
    expect(hues).toEqual([]);
    expect(bench.text()).toBe(staged({ columns: 120, rows: 40 }, 5).text());
  });
});

describe('the screen on an emulator', () => {
  it('is the frame, cell by cell, through changes and resizes, without scrollback', async () => {
    const sizes: readonly FrameSize[] = [
      { columns: 120, rows: 40 },
      { columns: 80, rows: 24 },
      { columns: 52, rows: 14 },
      { columns: 100, rows: 30 },
      { columns: 120, rows: 40 },
    ];
    const bench = new Bench({ columns: 120, rows: 40 }, 5);
    open.push(bench);
    const cluster = new FakeCluster(5);
    bench.attach(cluster);
    const terminal = await emulate({ columns: 120, rows: 40 }, '\u001b[?1049h\u001b[?25l\u001b[?7l');
    for (const size of sizes) {
      terminal.resize(size.columns, size.rows);
      bench.resize(size);
      for (let i = 0; i < 4; i++) {
        cluster.advance(100);
        cluster.write('k', '漢'.repeat(i));
        cluster.emit(2, 3, 'commit', `commit ${i}`);
        const before = bench.recorder.writes.length;
        const lines = bench.text().split('\n');
        await feed(terminal, bench.recorder.writes.slice(before).join(''));
        const expected = Array.from({ length: size.rows }, (_, row) => (lines[row] ?? '').trimEnd());
        expect(screenOf(terminal)).toEqual(expected);
      }
    }
    expect(terminal.buffer.active.baseY).toBe(0);
    expect(bench.recorder.text).not.toContain('\u001b[3J');
    expect(bench.recorder.text).not.toContain('\u001b[2J');
  });

  it('costs at most 3 KB a frame at 120 by 40 while everything moves', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 5);
    open.push(bench);
    const cluster = new FakeCluster(5);
    bench.attach(cluster);
    bench.draw();
    const bytes: number[] = [];
    const times: number[] = [];
    for (let i = 0; i < 120; i++) {
      cluster.advance(100);
      if (i % 2 === 0) cluster.write(`k${i % 5}`, String(i));
      if (i % 3 === 0) cluster.emit(2, 3, 'commit', `commit ${i}: acknowledged by n2 n3 n4`);
      const before = bench.sink.writtenBytes;
      const startedMs = performance.now();
      bench.draw();
      times.push(performance.now() - startedMs);
      bytes.push(bench.sink.writtenBytes - before);
    }
    process.stdout.write(
      `bytes a frame, median: ${middle(bytes)}; drawing p50: ${middle(times).toFixed(1)} ms\n`,
    );
    expect(middle(bytes)).toBeGreaterThan(200);
    expect(middle(bytes)).toBeLessThanOrEqual(3072);
  });

  it('writes nothing when nothing changed', () => {
    const bench = staged({ columns: 120, rows: 40 }, 5);
    bench.draw();
    const before = bench.sink.writtenBytes;
    bench.draw();
    bench.act({ kind: 'tick', nowMs: bench.nowMs });
    bench.draw();
    expect(bench.sink.writtenBytes).toBe(before);
  });
});
