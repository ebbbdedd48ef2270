/** Numbers and roles in the few words that the panels share. */
import type { ClusterEvent, NodeStanding, NodeView } from '../../cluster/view.ts';
import { unreachable } from '../../lib/assert.ts';
import type { Glyphs, Style } from '../look.ts';

/** `12.480`: seconds with milliseconds, as on every event line. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** `85ms`, `1.9s`, `2m05s`, `3h07m`: a duration in at most six characters. */
export function duration(ms: number): string {
  const safe = Number.isFinite(ms) ? Math.max(0, ms) : 0;
  if (safe < 1000) return `${Math.round(safe)}ms`;
  const total = safe / 1000;
  if (total < 100) return `${(Math.floor(total * 10) / 10).toFixed(1)}s`;
  const minutes = Math.floor(total / 60);
  return minutes < 100
    ? `${minutes}m${two(total % 60)}s`
    : `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
}

function two(n: number): string {
  return String(Math.floor(n)).padStart(2, '0');
}

/** `812`, `4.1K`, `3.0M`: bytes. */
export function bytes(count: number): string {
  if (count < 1000) return String(count);
  const units = ['K', 'M', 'G', 'T'];
  let value = count / 1024;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)}${units[unit] ?? ''}`;
}

/** A node as n3, nobody as -. */
export function nodeName(id: number): string {
  return id === 0 ? '-' : `n${id}`;
}

/** Whom an event is about: a node, the user, or nobody in particular. */
export function whoOf(event: Pick<ClusterEvent, 'node' | 'level'>): string {
  if (event.node > 0) return `n${event.node}`;
  return event.level === 0 ? 'user' : '-';
}

/** What a node is at the moment, as a glyph, a word and a colour that repeats them. */
export interface RoleText {
  readonly glyph: string;
  readonly word: string;
  readonly style: Style;
}

/** The role to show: a node that does not run has none. */
export function roleOf(node: NodeView, glyphs: Glyphs): RoleText {
  switch (node.state) {
    case 'crashed':
      return { glyph: glyphs.crashed, word: 'crashed', style: 'bad' };
    case 'stopped':
      return { glyph: glyphs.crashed, word: 'stopped', style: 'bad' };
    case 'frozen':
      return { glyph: glyphs.frozen, word: 'frozen', style: 'warn' };
    case 'starting':
      return { glyph: glyphs.follower, word: 'starting', style: 'dim' };
    case 'running':
      break;
  }
  switch (node.account?.role) {
    case 'leader':
      return { glyph: glyphs.leader, word: 'LEADER', style: 'good' };
    case 'candidate':
      return { glyph: glyphs.candidate, word: 'candidate', style: 'warn' };
    case 'preCandidate':
      return { glyph: glyphs.preCandidate, word: 'pre-vote', style: 'warn' };
    case 'follower':
      return memberText(node.standing, glyphs);
    case undefined:
    default:
      return { glyph: glyphs.follower, word: 'starting', style: 'dim' };
  }
}

/** A node that follows, by what it is to the cluster. */
function memberText(standing: NodeStanding, glyphs: Glyphs): RoleText {
  switch (standing) {
    case 'voter':
      return { glyph: glyphs.follower, word: 'follower', style: 'plain' };
    case 'witness':
      return { glyph: glyphs.witness, word: 'witness', style: 'plain' };
    case 'learner':
      return { glyph: glyphs.learner, word: 'learner', style: 'accent' };
    case 'promoting':
      return { glyph: glyphs.learner, word: 'promoting', style: 'accent' };
    case 'joining':
      return { glyph: glyphs.joining, word: 'joining', style: 'accent' };
    case 'leaving':
      return { glyph: glyphs.leaving, word: 'leaving', style: 'warn' };
    case 'none':
      return { glyph: glyphs.outside, word: 'outside', style: 'dim' };
    default:
      return unreachable(standing);
  }
}

/** What a node is to the cluster, in capitals, where its role does not say it; empty for a plain voter. */
export function standingMark(node: NodeView, role: RoleText): string {
  if (node.standing === 'voter' || node.standing === role.word) return '';
  // A node that starts may be about to be added.
  if (node.standing === 'none') return role.word === 'outside' || node.state === 'starting' ? '' : 'OUTSIDE';
  return node.standing.toUpperCase();
}

/** How much of the leader's log a node that is to learn it has: `learns 80 %`; empty for any other. */
export function learnsText(node: NodeView, leader: NodeView | undefined): string {
  if (node.standing !== 'learner' && node.standing !== 'promoting') return '';
  const peer = leader?.account?.peers.find(({ id }) => id === node.id);
  if (peer === undefined) return '';
  if (peer.mode === 'snapshot') return 'learns by snapshot';
  const last = leader?.account?.last ?? 0;
  const percent = last === 0 ? 100 : Math.min(100, Math.floor((100 * peer.match) / last));
  return `learns ${percent} %`;
}

/** One majority that has to agree. */
export interface Majority {
  readonly needed: number;
  readonly voterCount: number;
  readonly upCount: number;
}

/** The majority of the voters; while a change of them is joint, that of the old ones and that of the new (thesis §4.3). */
export function majoritiesOf(nodes: readonly NodeView[]): readonly Majority[] {
  const isJoint = nodes.some(({ standing }) => standing === 'joining' || standing === 'leaving');
  if (!isJoint) return [majorityOf(nodes, ['voter', 'witness'])];
  return [
    majorityOf(nodes, ['voter', 'witness', 'leaving']),
    majorityOf(nodes, ['voter', 'witness', 'joining']),
  ];
}

function majorityOf(nodes: readonly NodeView[], counted: readonly NodeStanding[]): Majority {
  const voters = nodes.filter(({ standing }) => counted.includes(standing));
  const upCount = voters.filter(({ state }) => state === 'running').length;
  return { needed: Math.floor(voters.length / 2) + 1, voterCount: voters.length, upCount };
}

/** A bar of `cells` for a timer: full when it was just set, empty when it fires. */
export function timerBar(leftMs: number, totalMs: number, cells: number, glyphs: Glyphs): string {
  return shareBar(totalMs > 0 ? leftMs / totalMs : 0, cells, glyphs);
}

/** A bar of `cells` of which `share`, 0 to 1, is filled. What is over that fills it; what is no number leaves it empty. */
export function shareBar(share: number, cells: number, glyphs: Glyphs): string {
  const full = Number.isFinite(share) ? Math.round(Math.max(0, Math.min(1, share)) * cells) : 0;
  return glyphs.full.repeat(full) + glyphs.empty.repeat(Math.max(0, cells - full));
}

/** Whether the cluster's links are cut anywhere. */
export function isDivided(nodes: readonly NodeView[]): boolean {
  return nodes.some((node) => node.cut || node.group !== nodes[0]?.group);
}
