import { afterEach, describe, expect, it } from 'vitest';
import type { ClusterView } from '../../src/cluster/view.ts';
import type { FrameSize } from '../../src/tui/frame-sink.ts';
import { display, width } from '../../src/tui/text.ts';
import { FakeCluster, TREE } from './fake-cluster.ts';
import { Bench, emulate, screenOf } from './harness.ts';

/** What people put into keys and values to take over the terminal of whoever looks. */
const HOSTILE: ReadonlyMap<string, string> = new Map([
  ['OSC 8 link', '\u001b]8;;https://evil.example\u0007click\u001b]8;;\u0007'],
  ['C1 OSC 52 clipboard', '\u009d52;c;cm0gLXJmIH4=\u009c'],
  ['OSC 52 clipboard', '\u001b]52;c;cm0gLXJmIH4=\u001b\\'],
  ['bell', 'ding\u0007\u0007'],
  ['backspace', 'safe\b\b\b\bevil'],
  ['carriage return', 'safe\revil'],
  ['line feed and tab', 'one\ntwo\tthree\u000bfour\u000cfive'],
  ['right-to-left override', 'user\u202etxt.exe'],
  ['isolates', '\u2066a\u2067b\u2068c\u2069'],
  ['right-to-left letters', 'שלום עולם مرحبا'],
  ['hidden text', '\u001b[8mhidden\u001b[28m'],
  ['cursor home and clear', '\u001b[H\u001b[2J\u001b[3J'],
  ['C1 CSI', '\u009b31mred\u009b2J'],
  ['title', '\u001b]0;owned\u0007'],
  ['DCS', '\u001bP1$r0m\u001b\\'],
  ['zero width', 'a\u200bb\u200cc\u200dd\u2060e\ufefff'],
  ['combining marks', `Z${'\u0301\u0489'.repeat(40)}algo`],
  ['1 MiB', 'v'.repeat(1 << 20)],
  ['1 MiB of escapes', '\u001b[31m'.repeat(1 << 18)],
  ['wide', '漢字かな交じり文한국어ＡＢＣ'.repeat(20)],
  ['ZWJ emoji', '👩‍👩‍👧‍👦👨🏽‍💻🏳️‍🌈'],
  ['flags', '🇩🇪🇫🇷'],
  ['keycap and variation selector', '1️⃣☂️'],
  ['lone surrogates', 'a\ud800b\udfffc'],
  ['jamo', '\u1100\u1161\u11a8\u3164\uffa0'],
  ['half-width marks', 'ｶﾞﾊﾟ'],
  ['Thai and Hindi', 'กี่ नमस्ते'],
  ['line separators', 'a\u2028b\u2029c\u0085d'],
  ['DEL and NUL', 'a\u007fb\u0000c'],
  ['tags', 'x\u{e0041}\u{e0042}'],
  ['newer than most terminals', '\u4dc0\u{1f9ff}\u{1fae8}'],
  ['markup of our own', '[31m ┌─┐ │ ⟨U+202E⟩'],
]);

/* Everything that may be sent: our own sequences, and characters whose width all terminals agree on. */
const OWN =
  /^(?:\u001b\[\d+;1H|\u001b\[[0-9;]*m|\u001b\[K|\u001b\[\?2026[hl]|[^\u0000-\u001f\u007f-\u009f])*$/u; // oxlint-disable-line no-control-regex -- they are what must not be there
const UNSAFE =
  /[\u00ad\u0590-\u08ff\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Surrogate}|\p{M}|\p{Emoji_Presentation}/u;

let open: Bench[] = [];

afterEach(() => {
  for (const bench of open) bench.close();
  open = [];
});

/** A view with `text` in every place that a string can be. */
function poisoned(view: ClusterView, text: string): ClusterView {
  return {
    ...view,
    nodes: view.nodes.map((node) => ({
      ...node,
      reason: node.id % 2 === 0 ? text : '',
      state: node.id % 2 === 0 ? 'crashed' : node.state,
      client: text,
      group: text,
      account:
        node.account === undefined
          ? undefined
          : {
              ...node.account,
              log: node.account.log.map((cell) => ({ ...cell, summary: text })),
              engine: { ...TREE, compacting: text },
              keyCount: 3,
              keys: [
                { key: text, value: text },
                { key: `${text}${node.id}`, value: text },
                { key: 'x', value: `${node.id}${text}` },
              ],
            },
    })),
  };
}

function drawn(
  size: FrameSize,
  text: string,
  ascii = false,
): { readonly bench: Bench; readonly lines: readonly string[] } {
  const bench = new Bench(size, 5, { ascii });
  open.push(bench);
  const cluster = new FakeCluster(5);
  bench.attach(cluster);
  bench.act({ kind: 'view', view: poisoned(cluster.view(), text), nowMs: bench.nowMs });
  bench.act({
    kind: 'events',
    events: [0, 1, 2].map((level) => ({
      atMs: level,
      node: level,
      level: level === 0 ? 0 : 1,
      kind: text,
      text,
    })),
  });
  // The storage takes the place of two panels: at one of the sizes.
  if (size.columns === 100) bench.type('s');
  const safe = display(text, ascii);
  bench.act({
    kind: 'result',
    result: { id: 1, request: safe, verdict: 'unknown', answer: safe, tookMs: 1 },
  });
  bench.type(`w\u001b[200~${text.slice(0, 2000).replaceAll('\u001b[201~', '').toWellFormed()}\u001b[201~`);
  return { bench, lines: bench.text().split('\n') };
}

describe('hostile text', () => {
  const sizes: readonly FrameSize[] = [
    { columns: 120, rows: 40 },
    { columns: 80, rows: 24 },
    { columns: 100, rows: 34 },
  ];
  it.each([...HOSTILE])('%s never reaches the terminal, and moves nothing', async (_name, text) => {
    for (const size of sizes) {
      const { bench, lines } = drawn(size, text);
      expect(bench.recorder.text).toMatch(OWN);
      expect(bench.recorder.text).not.toMatch(UNSAFE);
      for (const line of lines) expect(width(line), line).toBeLessThanOrEqual(size.columns);
      const terminal = await emulate(size, `\u001b[?7l${bench.recorder.text}`);
      const shown = screenOf(terminal);
      expect(shown).toEqual(Array.from({ length: size.rows }, (_, row) => (lines[row] ?? '').trimEnd()));
      // Frames stand where they stand around harmless text of one letter.
      const calm = screenOf(await emulate(size, `\u001b[?7l${drawn(size, 'x').bench.recorder.text}`));
      for (const [row, line] of calm.entries()) {
        if (!line.startsWith('│')) continue;
        const cells = terminal.buffer.active.getLine(row);
        for (const [column, c] of Array.from(line).entries()) {
          if (c === '│') expect(cells?.getCell(column)?.getChars(), `row ${row}, column ${column}`).toBe('│');
        }
      }
    }
  });

  it.each([...HOSTILE])('%s is ASCII with --ascii', (_name, text) => {
    const { bench, lines } = drawn({ columns: 120, rows: 40 }, text, true);
    expect(lines.join('')).toMatch(/^[\u0020-\u007e]*$/);
    expect(bench.recorder.text).toMatch(OWN);
  });

  it('in a view is made safe in a bounded time, also by the megabyte', () => {
    const bench = new Bench({ columns: 120, rows: 40 }, 9);
    open.push(bench);
    const view = poisoned(new FakeCluster(9).view(), '\u001b[31m'.repeat(1 << 18));
    const startedMs = performance.now();
    for (let i = 0; i < 10; i++) bench.act({ kind: 'view', view, nowMs: i });
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });
});
