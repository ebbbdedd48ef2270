import { describe, expect, it } from 'vitest';
import type { ClusterEvent } from '../../src/cluster/view.ts';
import type { Change } from '../../src/tui/changes.ts';
import { Keyboard } from './keyboard.ts';

function end(
  keyboard: Keyboard,
  change: Change,
  verdict: 'ok' | 'refused' | 'unknown' = 'ok',
  answer = 'done',
): void {
  const [mine] = keyboard.state.underWay.filter((each) => each.kind === change.kind);
  if (mine === undefined) throw new Error(`${change.kind} is not under way`);
  keyboard.act({ kind: 'changeEnded', change: mine, verdict, answer, nowMs: keyboard.nowMs });
}

/** A keyboard that sees `ids` of a cluster of nine. */
function keyboardOf(ids: readonly number[]): Keyboard {
  const keyboard = new Keyboard(9).ready();
  see(keyboard, ids);
  return keyboard;
}

function see(keyboard: Keyboard, ids: readonly number[]): void {
  const view = keyboard.cluster.view();
  const nodes = view.nodes.filter(({ id }) => ids.includes(id));
  keyboard.act({ kind: 'view', view: { ...view, nodes }, nowMs: keyboard.nowMs });
}

const told = (atMs: number, kind = 'role', level: ClusterEvent['level'] = 1): ClusterEvent => ({
  atMs,
  node: 6,
  level,
  kind,
  text: `${kind} at ${atMs}`,
});

describe('keys for members', () => {
  it('begin a change at once, and say so', () => {
    const changes: readonly (readonly [keys: string, change: Change, said: string])[] = [
      ['a', { kind: 'add' }, 'add a node'],
      ['A', { kind: 'addLearner' }, 'add a learner'],
      ['4v', { kind: 'promote', node: 4 }, 'promote n4'],
      ['2t', { kind: 'transfer', node: 2 }, 'transfer to n2'],
      ['2S', { kind: 'snapshot', node: 2 }, 'snapshot n2'],
    ];
    for (const [keys, change, said] of changes) {
      const keyboard = new Keyboard();
      keyboard.cluster.setStanding(4, 'learner');
      keyboard.ready();
      expect(keyboard.type(keys), keys).toEqual([{ kind: 'change', change }]);
      expect(keyboard.said, keys).toEqual([said]);
      expect(keyboard.state.underWay, keys).toEqual([change]);
      expect(keyboard.toast, keys).toBeUndefined();
    }
  });

  it.each([
    ['D', 'remove'],
    ['R', 'replace'],
  ] as const)('%s asks first, and only y does it', (key, kind) => {
    const keyboard = new Keyboard().ready();
    for (const no of ['n', 'q', '\u001b']) {
      expect(keyboard.type(`2${key}`)).toEqual([]);
      expect(keyboard.state.mode).toEqual({ kind: 'confirm', change: { kind, node: 2 } });
      expect(keyboard.type(no), no).toEqual([]);
      expect(keyboard.state.mode.kind, no).toBe('normal');
    }
    expect(keyboard.type(`${key}\r c5\t`)).toEqual([]);
    expect(keyboard.state.mode.kind).toBe('confirm');
    expect(keyboard.said).toEqual([]);
    expect(keyboard.type('y')).toEqual([{ kind: 'change', change: { kind, node: 2 } }]);
    expect(keyboard.state.mode.kind).toBe('normal');
    expect(keyboard.said).toEqual([`${kind} n2`]);
  });

  it('look again when the answer comes', async () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('2D');
    await keyboard.cluster.removeNode(2);
    keyboard.see();
    expect(keyboard.type('y')).toEqual([]);
    expect(keyboard.toast).toBe('There is no n2');
    expect(keyboard.state.mode.kind).toBe('normal');
  });

  it('say why when they cannot act on a witness', () => {
    const keyboard = new Keyboard();
    keyboard.cluster.setStanding(2, 'witness');
    keyboard.ready();
    for (const [keys, why] of [
      ['2v', 'n2 votes already'],
      ['2R', 'n2 is a witness and has nothing to replace: D removes it'],
      ['2t', 'n2 is a witness and cannot lead'],
    ] as const) {
      expect(keyboard.type(keys), keys).toEqual([]);
      expect(keyboard.toast, keys).toBe(why);
    }
  });

  it('say why when they cannot act', () => {
    const keyboard = new Keyboard();
    keyboard.cluster.setStanding(1, 'learner');
    keyboard.cluster.setStanding(2, 'promoting');
    keyboard.cluster.setStanding(4, 'none');
    void keyboard.cluster.node(5).crash();
    keyboard.ready();
    const refusals: readonly (readonly [keys: string, why: string])[] = [
      ['3v', 'n3 votes already'],
      ['2v', 'n2 votes by itself as soon as it has caught up'],
      ['4v', 'n4 is no member of the cluster'],
      ['1R', 'n1 is a learner: D removes it, A adds another'],
      ['4R', 'n4 is no member of the cluster: D takes it away'],
      ['3t', 'n3 leads already'],
      ['1t', 'n1 is a learner and cannot lead: v makes it a voter'],
      ['4t', 'n4 is no member of the cluster and cannot lead'],
      ['5t', 'n5 is crashed and cannot lead'],
      ['5S', 'n5 is crashed: only a running node saves a snapshot'],
    ];
    for (const [keys, why] of refusals) {
      expect(keyboard.type(keys), keys).toEqual([]);
      expect(keyboard.toast, keys).toBe(why);
      expect(keyboard.state.mode.kind, keys).toBe('normal');
    }
    keyboard.cluster.setStanding(5, 'leaving');
    keyboard.see();
    expect(keyboard.type('5R')).toEqual([]);
    expect(keyboard.toast).toBe('n5 is leaving: wait until both majorities agree');
    expect(keyboard.type('3D')).toEqual([]);
    expect(keyboard.toast).toBe('n3 is the only voter: nobody would be left to decide');
    expect(keyboard.said).toEqual([]);
    const full = new Keyboard(9).ready();
    expect(full.type('aA')).toEqual([]);
    expect(full.toast).toBe('9 nodes are all that the screen has room for');
    expect(full.type('1Ry')).toHaveLength(1);
  });

  it('cannot hand over what nobody has', () => {
    const keyboard = new Keyboard();
    keyboard.act({ kind: 'view', view: { ...keyboard.cluster.view(), leader: 0 }, nowMs: 0 });
    keyboard.act({ kind: 'ready' });
    expect(keyboard.type('2t')).toEqual([]);
    expect(keyboard.toast).toBe('Nobody leads: there is nothing to hand over');
  });

  it('make one change at a time, and snapshots beside it, one a node', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('a')).toHaveLength(1);
    for (const keys of ['a', 'A', '2D', '2R', '2t']) {
      expect(keyboard.type(keys), keys).toEqual([]);
      expect(keyboard.toast, keys).toBe('One at a time: "add a node" is under way');
    }
    expect(keyboard.type('1S2S')).toHaveLength(2);
    expect(keyboard.type('2S')).toEqual([]);
    expect(keyboard.toast).toBe('One at a time: "snapshot n2" is under way');
    end(keyboard, { kind: 'add' });
    expect(keyboard.type('2t')).toHaveLength(1);
    expect(keyboard.state.underWay.map(({ kind }) => kind)).toEqual(['snapshot', 'snapshot', 'transfer']);
  });

  it('tell the outcome, and a bad one twice', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('a');
    end(keyboard, { kind: 'add' }, 'ok', 'n6 votes');
    expect(keyboard.toast).toBeUndefined();
    keyboard.type('2t');
    end(keyboard, { kind: 'transfer', node: 2 }, 'refused', 'n2 is too far behind');
    expect(keyboard.toast).toBe('transfer to n2 refused: n2 is too far behind');
    keyboard.type('a');
    end(keyboard, { kind: 'add' }, 'unknown', 'No answer in time');
    expect(keyboard.said).toEqual([
      'add a node',
      'add a node ok: n6 votes',
      'transfer to n2',
      'transfer to n2 refused: n2 is too far behind',
      'add a node',
      'add a node unknown: No answer in time',
    ]);
    expect(keyboard.state.underWay).toEqual([]);
  });
});

describe('nodes that come and go', () => {
  it('are selected by digits and arrows as they are', () => {
    const keyboard = keyboardOf([2, 5, 9]);
    expect(keyboard.state.selected).toBe(2);
    keyboard.type('5');
    expect(keyboard.state.selected).toBe(5);
    keyboard.type('3');
    expect(keyboard.toast).toBe('There is no n3');
    const seen = Array.from({ length: 3 }, () => {
      keyboard.type('\u001b[C');
      return keyboard.state.selected;
    });
    expect(seen).toEqual([9, 2, 5]);
    keyboard.type('\u001b[D\u001b[D');
    expect(keyboard.state.selected).toBe(9);
  });

  it('leave the selection with their neighbour', () => {
    const keyboard = keyboardOf([1, 2, 3, 4]);
    keyboard.type('2');
    see(keyboard, [1, 3, 4]);
    expect(keyboard.state.selected).toBe(3);
    keyboard.type('4');
    see(keyboard, [1, 3]);
    expect(keyboard.state.selected).toBe(3);
    see(keyboard, [1, 3, 5]);
    expect(keyboard.state.selected).toBe(3);
  });

  it('leave the selection with the one that took their place', () => {
    const keyboard = keyboardOf([1, 2, 3]);
    keyboard.type('2Ry');
    see(keyboard, [1, 2, 3, 4]);
    expect(keyboard.state.selected).toBe(2);
    see(keyboard, [1, 3, 4]);
    expect(keyboard.state.selected).toBe(4);
  });

  it('are parted by digits, and by blanks where they have no digit', () => {
    const keyboard = keyboardOf([2, 5, 9]);
    keyboard.type('p3');
    expect(keyboard.toast).toBe('There is no n3');
    expect(keyboard.type('9\u001b[C \r')).toEqual([{ kind: 'partition', groups: [[2], [5, 9]] }]);
  });

  it('take what was said of them along', () => {
    const keyboard = keyboardOf([1, 2, 3]);
    keyboard.type('2x');
    expect([...keyboard.state.cutOff]).toEqual([2]);
    see(keyboard, [1, 3]);
    expect([...keyboard.state.cutOff]).toEqual([]);
    expect(keyboard.type('h')).toEqual([]);
    expect(keyboard.toast).toMatch(/Nothing to heal/);
  });
});

describe('lines of the user among those of the cluster', () => {
  it('stand where they belong, though the cluster tells later', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('a');
    const atMs = keyboard.state.events[0]?.atMs ?? 0;
    keyboard.nowMs += 1000;
    end(keyboard, { kind: 'add' }, 'ok', 'n6 votes');
    keyboard.act({ kind: 'events', events: [told(atMs - 10), told(atMs + 900), told(atMs + 1100)] });
    keyboard.act({ kind: 'events', events: [told(atMs + 1050)] });
    expect(keyboard.state.events.map(({ text }) => text)).toEqual([
      `role at ${atMs - 10}`,
      'add a node',
      `role at ${atMs + 900}`,
      'add a node ok: n6 votes',
      `role at ${atMs + 1100}`,
      `role at ${atMs + 1050}`,
    ]);
    const seqs = keyboard.state.events.map(({ seq }) => seq);
    expect(seqs).toEqual([1, 2, 3, 4, 5, 6]);
    expect(keyboard.state.nextSeq).toBe(7);
  });

  it('hide their echo, and not what came of them', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('2Ry');
    const atMs = keyboard.state.events[0]?.atMs ?? 0;
    const kinds = ['remove', 'add', 'replace', 'removed', 'crash'];
    keyboard.act({ kind: 'events', events: kinds.map((kind, i) => told(atMs + i, kind, 0)) });
    expect(keyboard.state.events.map(({ kind }) => kind)).toEqual(['user', 'add', 'replace', 'removed']);
  });
});
