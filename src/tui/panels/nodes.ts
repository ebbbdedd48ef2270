/** The nodes: one card each where there is room, otherwise one line each in a table. */
import type { NodeView, PeerView } from '../../cluster/view.ts';
import { termStyle, type Look, type Part } from '../look.ts';
import type { ScreenView } from '../model.ts';
import { fit, wrap } from '../text.ts';
import {
  bytes,
  duration,
  learnsText,
  nodeName,
  roleOf,
  standingMark,
  timerBar,
  type RoleText,
} from './format.ts';

const MODES: Readonly<Record<PeerView['mode'], string>> = {
  probe: 'probe',
  replicate: 'repl',
  snapshot: 'snap',
};

/** One card of `cells` by `rows`: six facts, then a leader's followers, or why the node is down. */
export function cardLines(options: {
  readonly node: NodeView;
  /** Who leads, and so knows how far a learner is. */
  readonly leader: NodeView | undefined;
  readonly isSelected: boolean;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { node, cells, rows, look } = options;
  const role = roleOf(node, look.glyphs);
  const inner = cells - 2;
  const account = node.account;
  const note: Part[] =
    account === undefined ? [] : [[`T${account.term}`, termStyle(account.term)], ` ${node.group}`];
  const body =
    account === undefined
      ? []
      : [
          look.line(inner, `vote ${nodeName(account.vote).padEnd(4)} lead ${nodeName(account.leader)}`),
          look.line(inner, `log ${logRange(node)}`),
          look.line(inner, `commit ${account.commit} apply ${account.applied}`),
          timerLine(node, inner, look),
          diskLine(node, inner, look),
        ];
  body.push(stateLine(node, role, inner, look));
  if (node.state === 'running' && account?.role === 'leader') {
    body.push(...peerLines(account.peers, inner, look));
  } else {
    const learns = learnsText(node, options.leader);
    if (learns !== '' && node.state === 'running') body.push(look.line(inner, [learns, 'accent']));
    body.push(...detailLines(node, inner, rows - 2 - body.length, look));
  }
  return look.box({
    cells,
    rows,
    title: [`n${node.id} `, [`${role.glyph} ${role.word}`, role.style]],
    note,
    isFocused: options.isSelected,
    body,
  });
}

function logRange(node: NodeView): string {
  const account = node.account;
  if (account === undefined) return '-';
  return account.last < account.first ? 'empty' : `${account.first}-${account.last}`;
}

function timerLine(node: NodeView, cells: number, look: Look): string {
  const account = node.account;
  if (account === undefined || node.state !== 'running')
    return look.line(cells, ['timer stands still', 'dim']);
  if (neverStands(node)) return look.line(cells, ['does not vote or stand', 'dim']);
  if (node.standing === 'witness') return look.line(cells, ['votes, keeps no data', 'dim']);
  const label = account.role === 'leader' ? 'hb ' : 'tmo';
  const bar = timerBar(
    account.timerMs,
    account.timerTotalMs,
    Math.max(4, Math.min(20, cells - 11)),
    look.glyphs,
  );
  return look.line(cells, `${label} ${bar} ${duration(account.timerMs).padStart(6)}`);
}

/** Only voters stand for election: the timer of any other node decides nothing (thesis §4.2.1). */
function neverStands({ standing, account }: NodeView): boolean {
  return account?.role === 'follower' && ['learner', 'promoting', 'none'].includes(standing);
}

function diskLine(node: NodeView, cells: number, look: Look): string {
  const account = node.account;
  if (account === undefined) return look.line(cells);
  if (account.storage === 'failed') return look.line(cells, ['DISK FAILED', 'bad']);
  if (account.storage === 'full') return look.line(cells, ['DISK FULL', 'warn']);
  return look.line(cells, `disk ok  wal ${bytes(account.walBytes)}`);
}

function stateLine(node: NodeView, role: RoleText, cells: number, look: Look): string {
  const since: Part = [
    `${node.state} ${duration(node.stateMs)}`,
    role.style === 'plain' ? 'dim' : role.style,
  ];
  const marks = [standingMark(node, role), node.cut ? 'CUT OFF' : ''].filter((mark) => mark !== '');
  const parts: readonly Part[] = [...marks.map((mark): Part => [mark, 'warn']), ...leadParts(node)];
  return look.line(cells, since, ...parts.flatMap((part): readonly Part[] => ['  ', part]));
}

/** To whom a leader hands over, or that it reads by a lease. */
function leadParts({ state, account }: NodeView): readonly Part[] {
  if (state !== 'running' || account === undefined) return [];
  if (account.transferTo !== 0) return [[`to ${nodeName(account.transferTo)}`, 'accent']];
  return account.leaseMs > 0 ? [['lease', 'good']] : [];
}

/** A line a follower; in words where all of them fit. */
function peerLines(peers: readonly PeerView[], cells: number, look: Look): readonly string[] {
  const long = peers.map((peer) => `n${peer.id} match ${peer.match} next ${peer.next} `);
  const fits = peers.every((peer, i) => (long[i] ?? '').length + MODES[peer.mode].length <= cells);
  return peers.map((peer, i) => {
    const text = fits ? (long[i] ?? '') : `n${peer.id} ${peer.match}${look.glyphs.to}${peer.next} `;
    return look.line(cells, text, [MODES[peer.mode], peer.mode === 'replicate' ? 'dim' : 'warn']);
  });
}

function detailLines(node: NodeView, cells: number, rows: number, look: Look): readonly string[] {
  if (node.reason !== '') {
    return wrap(node.reason, cells, Math.max(1, rows), look.glyphs.ellipsis).map((text) =>
      look.line(cells, [text, 'dim']),
    );
  }
  const account = node.account;
  if (account === undefined) return [];
  const lines = [look.line(cells, [`keys ${account.keyCount}`, 'dim'])];
  if (account.snapshotIndex > 0)
    lines.push(look.line(cells, [`snapshot to ${account.snapshotIndex}`, 'dim']));
  return lines;
}

/** A table of `cells`: a heading and a line a node. Columns that do not fit are left out from the right. */
export function tableLines(options: {
  readonly view: ScreenView;
  readonly selected: number;
  readonly cells: number;
  readonly look: Look;
}): readonly string[] {
  const { view, cells, look } = options;
  const barCells = cells >= 100 ? 14 : 8;
  const hasTimer = cells >= 44 + barCells + 12;
  const rangeCells = hasTimer ? 15 : 12;
  const head = ` ${'node'.padEnd(5)}${'role'.padEnd(12)}${'term'.padEnd(6)}${'vote'.padEnd(5)}${'commit/last'.padEnd(rangeCells)}`;
  const timer = 'timer'.padEnd(barCells + 8);
  const lines = [look.line(cells, [`${head}${hasTimer ? timer : ''}grp state`, 'dim'])];
  const leader = view.nodes.find(({ id }) => id === view.leader);
  for (const node of view.nodes) {
    const role = roleOf(node, look.glyphs);
    const account = node.account;
    const isSelected = node.id === options.selected;
    const range = account === undefined ? '-' : `${account.commit}/${account.last}`;
    lines.push(
      look.line(
        cells,
        [
          `${isSelected ? look.glyphs.pointer : ' '}${`n${node.id}`.padEnd(6)}`,
          isSelected ? 'accent' : 'plain',
        ],
        [`${role.glyph} ${role.word}`, role.style],
        ' '.repeat(Math.max(1, 10 - role.word.length)),
        account === undefined ? '-' : [`T${account.term}`, termStyle(account.term)],
        ' '.repeat(Math.max(1, 6 - (account === undefined ? 1 : `T${account.term}`.length))),
        nodeName(account?.vote ?? 0).padEnd(5),
        fit(range, rangeCells - 1, look.glyphs.ellipsis),
        ' ',
        ...(hasTimer ? [tableTimer(node, barCells, look)] : []),
        node.group.padEnd(4),
        ...tableState(node, role, leader),
      ),
    );
  }
  return lines;
}

function tableTimer(node: NodeView, barCells: number, look: Look): string {
  const account = node.account;
  if (account === undefined || node.state !== 'running' || neverStands(node)) return ' '.repeat(barCells + 8);
  const bar = timerBar(account.timerMs, account.timerTotalMs, barCells, look.glyphs);
  return `${bar} ${duration(account.timerMs).padStart(6)} `;
}

function tableState(node: NodeView, role: RoleText, leader: NodeView | undefined): readonly Part[] {
  const parts: Part[] = [];
  const mark = standingMark(node, role);
  const learns = node.state === 'running' ? learnsText(node, leader) : '';
  if (mark !== '') parts.push([`${mark} `, 'warn']);
  if (learns !== '') parts.push([`${learns}  `, 'accent']);
  for (const part of leadParts(node)) parts.push(part, ' ');
  if (node.cut) parts.push(['CUT OFF ', 'warn']);
  if (node.account?.storage === 'failed') parts.push(['DISK FAILED ', 'bad']);
  if (node.account?.storage === 'full') parts.push(['DISK FULL ', 'warn']);
  parts.push([
    `${node.state} ${duration(node.stateMs)}`,
    role.style === 'bad' || role.style === 'warn' ? role.style : 'dim',
  ]);
  if (node.reason !== '') parts.push([`  ${node.reason}`, 'dim']);
  return parts;
}
