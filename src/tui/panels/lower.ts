/** The lower panels: events with their reasons, the key space node by node, and the user's own requests. */
import { unreachable } from '../../lib/assert.ts';
import type { NodeView } from '../../cluster/view.ts';
import type { Look, Part, Style } from '../look.ts';
import type { ClientResult, ScreenEvent, ScreenView } from '../model.ts';
import type { WorkloadStats } from '../state.ts';
import { fit, fitRight } from '../text.ts';
import { duration, seconds, whoOf } from './format.ts';

const EVENT_STYLES: Readonly<Record<ScreenEvent['level'], Style>> = {
  0: 'accent',
  1: 'bold',
  2: 'plain',
  3: 'dim',
};
const TIME_CELLS = 9;
const KEY_CELLS = 9;
const VALUE_CELLS_MIN = 5;

/** Lines of events, newest first, from the one called `top` on. `shown` is newest first and filtered already. */
export function eventLines(options: {
  readonly shown: readonly ScreenEvent[];
  readonly top: number | undefined;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { shown, top, cells, look } = options;
  const from =
    top === undefined
      ? 0
      : Math.max(
          0,
          shown.findIndex((event) => event.seq <= top),
        );
  return shown.slice(from, from + options.rows).map((event) => {
    return look.line(cells, `${fitRight(seconds(event.atMs), TIME_CELLS)} ${whoOf(event).padEnd(5)}`, [
      event.earlierCount === 0 ? event.text : `${event.text} (and ${event.earlierCount} before)`,
      EVENT_STYLES[event.level],
    ]);
  });
}

/** What the heading of the events says: the level shown, how many are hidden, how far it is scrolled back. */
export function eventNote(options: {
  readonly allCount: number;
  readonly shown: readonly ScreenEvent[];
  readonly top: number | undefined;
  readonly level: number;
}): readonly Part[] {
  const { shown, top } = options;
  const hidden = options.allCount - shown.length;
  const newer = top === undefined ? 0 : shown.filter((event) => event.seq > top).length;
  return [
    [
      [
        `level ${options.level}`,
        ...(hidden > 0 ? [`${hidden} hidden`] : []),
        ...(newer > 0 ? [`${newer} newer above`] : []),
      ].join(', '),
      'dim',
    ],
  ];
}

/**
 * The keys written last, one line each and one column a node. A value that differs from the leader's is marked with
 * `!`; `·` is a key that the node surely lacks; `?` one that it may hold among those it does not list.
 */
export function keyLines(options: {
  readonly view: ScreenView;
  readonly top: number;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { view, cells, look } = options;
  const each = Math.max(
    VALUE_CELLS_MIN,
    Math.min(16, Math.floor((cells - KEY_CELLS - 1) / view.nodes.length)),
  );
  const reference = view.nodes.find((node) => node.id === view.leader) ?? freshest(view.nodes);
  const tables = new Map(view.nodes.map((node) => [node.id, tableOf(node)]));
  const keys = keysOf(view.nodes, reference);
  const heading = view.nodes.map((node) => fit(`n${node.id}`, each)).join('');
  const lines = [look.line(cells, [` ${'key'.padEnd(KEY_CELLS)}${heading}`, 'dim'])];
  if (keys.length === 0) lines.push(look.line(cells, [' no keys yet: w writes one', 'dim']));
  const from = Math.max(0, Math.min(options.top, keys.length - 1));
  for (const key of keys.slice(from, from + options.rows - 1)) {
    const expected = reference === undefined ? undefined : tables.get(reference.id)?.get(key);
    const parts: Part[] = [` ${fit(key, KEY_CELLS - 1, look.glyphs.ellipsis)} `];
    for (const node of view.nodes)
      parts.push(valuePart(node, tables.get(node.id)?.get(key), expected, each, look));
    lines.push(look.line(cells, ...parts));
  }
  return lines;
}

function valuePart(
  node: NodeView,
  value: string | undefined,
  expected: string | undefined,
  cells: number,
  look: Look,
): Part {
  if (value === undefined) {
    const account = node.account;
    const isListed = account !== undefined && account.keyCount <= account.keys.length;
    return [fit(isListed ? look.glyphs.missing : '?', cells), 'dim'];
  }
  const differs = expected !== undefined && value !== expected;
  const text = differs
    ? `${fit(value, Math.min(cells - 2, Array.from(value).length), look.glyphs.ellipsis)}!`
    : value;
  return [`${fit(text, cells - 1, look.glyphs.ellipsis)} `, differs ? 'bad' : 'plain'];
}

function tableOf(node: NodeView): ReadonlyMap<string, string> {
  return new Map(node.account?.keys.map(({ key, value }) => [key, value]));
}

function freshest(nodes: readonly NodeView[]): NodeView | undefined {
  return nodes.toSorted((a, b) => (b.account?.applied ?? 0) - (a.account?.applied ?? 0))[0];
}

/** The reference's keys in its order, then those that only others list. */
function keysOf(nodes: readonly NodeView[], reference: NodeView | undefined): readonly string[] {
  const keys = new Set<string>(reference?.account?.keys.map(({ key }) => key));
  for (const node of nodes) for (const { key } of node.account?.keys ?? []) keys.add(key);
  return [...keys];
}

/** How far each node is behind the highest commit, in a few words; empty when none is. */
export function lagNote(view: ScreenView): readonly Part[] {
  const commits = view.nodes.map((node) => node.account?.commit ?? 0);
  const highest = Math.max(0, ...commits);
  const behind = view.nodes.flatMap((node) => {
    const lag = highest - (node.account?.applied ?? 0);
    return lag > 0 ? [`n${node.id} -${lag}`] : [];
  });
  return behind.length === 0 ? [] : [[`behind: ${behind.join(' ')}`, 'warn']];
}

/** The user's requests, newest first, below a line for the background workload while there is something to say. */
export function resultLines(options: {
  readonly results: readonly ClientResult[];
  readonly workload: WorkloadStats;
  readonly top: number;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { results, workload, cells, look } = options;
  const lines: string[] = [];
  const total = workload.okCount + workload.refusedCount + workload.unknownCount;
  if (workload.isOn || total > 0) lines.push(workloadLine(workload, cells, look));
  if (results.length === 0 && lines.length === 0) {
    lines.push(look.line(cells, [' none yet: w writes, e reads, W runs a load', 'dim']));
  }
  for (const result of results.slice(options.top)) {
    if (lines.length >= options.rows) break;
    lines.push(resultLine(result, cells, look));
  }
  return lines;
}

function workloadLine(workload: WorkloadStats, cells: number, look: Look): string {
  const took = workload.tookMsP50 === undefined ? '' : ` p50 ${duration(workload.tookMsP50)}`;
  return look.line(
    cells,
    [` load ${workload.isOn ? 'on ' : 'off'} `, workload.isOn ? 'bold' : 'dim'],
    [`ok ${workload.okCount}`, 'good'],
    ' ',
    [`refused ${workload.refusedCount}`, workload.refusedCount > 0 ? 'bad' : 'dim'],
    ' ',
    [`unknown ${workload.unknownCount}`, workload.unknownCount > 0 ? 'warn' : 'dim'],
    took,
  );
}

function resultLine(result: ClientResult, cells: number, look: Look): string {
  const [glyph, style] = verdict(result, look);
  const requestCells = Math.max(8, Math.floor(cells * 0.34));
  return look.line(
    cells,
    [` ${glyph} `, style],
    `${fit(result.request, requestCells, look.glyphs.ellipsis)} `,
    [`${result.verdict.padEnd(7)} `, style],
    `${duration(result.tookMs).padStart(6)}  `,
    result.answer,
  );
}

function verdict(result: ClientResult, look: Look): readonly [string, Style] {
  switch (result.verdict) {
    case 'waiting':
      return [look.glyphs.ellipsis, 'dim'];
    case 'ok':
      return [look.glyphs.yes, 'good'];
    case 'refused':
      return [look.glyphs.no, 'bad'];
    case 'unknown':
      return ['?', 'warn'];
    default:
      return unreachable(result.verdict);
  }
}
