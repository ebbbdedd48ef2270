import { describe, expect, it } from 'vitest';
import type { ClusterEvent } from '../../src/cluster/view.ts';
import { KEY_REPEAT_MS } from '../../src/tui/key-actions.ts';
import { EVENTS_MAX, shownEvents, TOAST_MS, type Effect } from '../../src/tui/state.ts';
import { Keyboard } from './keyboard.ts';

function roleEvent(i: number): ClusterEvent {
  return { atMs: i, node: 1, level: 1, kind: 'role', text: `e${i}` };
}

function commit(i: number): ClusterEvent {
  return { atMs: i, node: 2, level: 2, kind: 'commit', text: `to ${i}` };
}

describe('keys for faults', () => {
  it('act on the selected node and leave an event', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('3c')).toEqual([{ kind: 'crash', node: 3 }]);
    expect(keyboard.type('4z')).toEqual([{ kind: 'freeze', node: 4 }]);
    expect(keyboard.type('5x')).toEqual([{ kind: 'isolate', node: 5 }]);
    void keyboard.cluster.node(3).crash();
    keyboard.cluster.node(4).freeze();
    keyboard.see();
    expect(keyboard.type('3r')).toEqual([{ kind: 'restart', node: 3 }]);
    expect(keyboard.type('4z')).toEqual([{ kind: 'thaw', node: 4 }]);
    expect(keyboard.type('5x')).toEqual([{ kind: 'rejoin', node: 5 }]);
    expect(keyboard.said).toEqual([
      'crash n3',
      'freeze n4',
      'cut off n5',
      'restart n3',
      'thaw n4',
      'rejoin n5',
    ]);
    expect(keyboard.toast).toBeUndefined();
  });

  it('say why when they cannot act', () => {
    const keyboard = new Keyboard().ready();
    const refusals: readonly (readonly [keys: string, why: RegExp])[] = [
      ['r', /n1 is running: c crashes it/],
      ['b', /Every node is up/],
      ['h', /Nothing to heal/],
      ['7', /There is no n7/],
      ['2c', /n2 is crashed already: r restarts it/],
      ['z', /only a running node can be frozen/],
      ['3r', /n3 is frozen, not down: z thaws it/],
    ];
    void keyboard.cluster.node(2).crash();
    keyboard.cluster.node(3).freeze();
    for (const [keys, why] of refusals) {
      if (keys === '2c') keyboard.see();
      expect(keyboard.type(keys), keys).toEqual([]);
      expect(keyboard.toast, keys).toMatch(why);
    }
    expect(keyboard.said).toEqual([]);
    const alone = new Keyboard(1).ready();
    expect(alone.type('x')).toEqual([]);
    expect(alone.toast).toMatch(/only node/);
    expect(alone.type('p')).toEqual([]);
    expect(alone.toast).toMatch(/cannot be divided/);
  });

  it('wait for the cluster', () => {
    const keyboard = new Keyboard();
    for (const key of 'crzxphbweWaAvDRtS') {
      expect(keyboard.type(key), key).toEqual([]);
      expect(keyboard.toast, key).toBe('The cluster is still starting');
    }
    expect(keyboard.type('q')).toEqual([{ kind: 'quit' }]);
  });

  it('bring every crashed node back', () => {
    const keyboard = new Keyboard();
    void keyboard.cluster.node(1).crash();
    void keyboard.cluster.node(4).crash();
    keyboard.ready();
    expect(keyboard.type('b')).toEqual([
      { kind: 'restart', node: 1 },
      { kind: 'restart', node: 4 },
    ]);
    expect(keyboard.said).toEqual(['bring back n1 n4']);
  });

  it('heal with h and with P, also a partition that someone else made', () => {
    const keyboard = new Keyboard();
    keyboard.cluster.partition([
      [1, 2],
      [3, 4, 5],
    ]);
    keyboard.ready();
    expect(keyboard.type('hP')).toEqual([{ kind: 'heal' }, { kind: 'heal' }]);
  });

  it('do not rejoin a node whose links something else cut', () => {
    const keyboard = new Keyboard();
    keyboard.cluster.isolate(1);
    keyboard.ready();
    expect(keyboard.type('x')).toEqual([]);
    expect(keyboard.toast).toMatch(/h heals every link/);
  });

  it('act once a frame while held', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('cccc', KEY_REPEAT_MS / 5)).toHaveLength(1);
    expect(keyboard.type('3c4c', 1)).toHaveLength(2);
    keyboard.nowMs += KEY_REPEAT_MS;
    expect(keyboard.type('c')).toHaveLength(1);
  });

  it('do nothing on a screen too small to show it', () => {
    const keyboard = new Keyboard(5, { columns: 59, rows: 40 }).ready();
    expect(keyboard.type('crzxhbWpw?\t2aAvDRtSy')).toEqual([]);
    expect(keyboard.state.mode.kind).toBe('normal');
    expect(keyboard.state.selected).toBe(1);
    expect(keyboard.type('q')).toEqual([{ kind: 'quit' }]);
    expect(keyboard.type('\u0003')).toEqual([{ kind: 'quit' }]);
  });
});

describe('the partition editor', () => {
  it('moves nodes by their digits and applies on Enter', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('p125')).toEqual([]);
    expect(keyboard.type('5\r')).toEqual([
      {
        kind: 'partition',
        groups: [
          [3, 4, 5],
          [1, 2],
        ],
      },
    ]);
    expect(keyboard.said).toEqual(['partition {n3 n4 n5} | {n1 n2}']);
    expect(keyboard.state.mode.kind).toBe('normal');
  });

  it('cancels on Esc, refuses an empty group and unknown nodes', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('p\r');
    expect(keyboard.toast).toMatch(/Both groups need a node/);
    keyboard.type('9');
    expect(keyboard.toast).toBe('There is no n9');
    expect(keyboard.type('c')).toEqual([]);
    expect(keyboard.type('1\u001b')).toEqual([]);
    expect(keyboard.state.mode.kind).toBe('normal');
  });
});

describe('prompts', () => {
  it('send what was typed', () => {
    const keyboard = new Keyboard().ready();
    const send = (text: string): readonly Effect[] => keyboard.type(`w\u0015${text}\r`);
    expect(keyboard.type('w\r')).toEqual([
      { kind: 'request', request: { kind: 'set', key: 'x', value: '1' } },
    ]);
    expect(send('set y two words')).toEqual([
      { kind: 'request', request: { kind: 'set', key: 'y', value: 'two words' } },
    ]);
    expect(send('del y')).toEqual([{ kind: 'request', request: { kind: 'delete', key: 'y' } }]);
    expect(send('cas x 1 2')).toEqual([
      { kind: 'request', request: { kind: 'cas', key: 'x', expected: '1', value: '2' } },
    ]);
    expect(keyboard.type('e\u0015get 漢\r')).toEqual([
      { kind: 'request', request: { kind: 'get', key: '漢' } },
    ]);
    expect(keyboard.said).toEqual(['set x 1', 'set y two words', 'del y', 'cas x 1 2', 'get 漢']);
  });

  it('take every key as text, also keys of faults, however fast', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('w\u0015ccc qrz?', 1)).toEqual([]);
    expect(keyboard.type('\r')).toEqual([
      { kind: 'request', request: { kind: 'set', key: 'ccc', value: 'qrz?' } },
    ]);
  });

  it('edit: Backspace, arrows, Delete, Home, End, paste without line breaks', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('w\u007f\u007f\u007f\u007fab\u001b[Dc\u001b[H\u001b[3~\u001b[F');
    keyboard.type('\u001b[200~ 1\r\n2\u001b[201~');
    expect(keyboard.state.mode).toMatchObject({ kind: 'prompt', text: Array.from('cb1 2'), cursor: 5 });
    keyboard.type('w\u001b');
    expect(keyboard.state.mode.kind).toBe('normal');
  });

  it('stay open with a reason when the text makes no request', () => {
    const keyboard = new Keyboard().ready();
    for (const text of ['', 'x', 'del', 'del a b', 'cas x 1', 'set x']) {
      expect(keyboard.type(`w\u0015${text}\r`), text).toEqual([]);
      expect(keyboard.toast, text).toBeDefined();
      expect(keyboard.state.mode.kind, text).toBe('prompt');
      keyboard.type('\u001b');
    }
    keyboard.type('e\u0015a b\r');
    expect(keyboard.toast).toMatch(/A read takes one key/);
  });

  it('hold a bounded text', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type(`w\u001b[200~${'v'.repeat(5000)}\u001b[201~`);
    expect(keyboard.state.mode).toMatchObject({ cursor: 1000 });
  });

  it('paste outside of a prompt does nothing but say so', () => {
    const keyboard = new Keyboard().ready();
    expect(keyboard.type('\u001b[200~ccc q\u001b[201~')).toEqual([]);
    expect(keyboard.toast).toMatch(/press w or e first/);
  });
});

describe('keys for the screen', () => {
  it('Tab cycles the panels that the layout has', () => {
    const wide = new Keyboard().ready();
    const seen = Array.from({ length: 5 }, () => {
      wide.type('\t');
      return wide.state.panel;
    });
    expect(seen).toEqual(['keys', 'results', 'storage', 'events', 'keys']);
    wide.type('\u001b[Z');
    expect(wide.state.panel).toBe('events');
    const small = new Keyboard(5, { columns: 60, rows: 16 }).ready();
    small.type('\t');
    expect(small.state.panel).toBe('log');
  });

  it('s shows the storage of the selected node, and the events again', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('\ts');
    expect(keyboard.state.panel).toBe('storage');
    keyboard.type('2');
    expect(keyboard.state).toMatchObject({ panel: 'storage', selected: 2 });
    keyboard.type('s');
    expect(keyboard.state.panel).toBe('events');
  });

  it('scrolls the storage no further than it goes', () => {
    const keyboard = new Keyboard(3).ready();
    keyboard.type('s');
    for (let i = 0; i < 50; i++) keyboard.type('\u001b[B');
    const { storageTop } = keyboard.state;
    expect(storageTop).toBeGreaterThan(3);
    expect(storageTop).toBeLessThan(20);
    keyboard.type('\u001b[A');
    expect(keyboard.state.storageTop).toBe(storageTop - 1);
    keyboard.type('\u001b[H');
    expect(keyboard.state.storageTop).toBe(0);
  });

  it('left and right go round the nodes', () => {
    const keyboard = new Keyboard(3).ready();
    keyboard.type('\u001b[D');
    expect(keyboard.state.selected).toBe(3);
    keyboard.type('\u001b[C\u001b[C');
    expect(keyboard.state.selected).toBe(2);
  });

  it('events scrolled back stay where they are while new ones come', () => {
    const keyboard = new Keyboard().ready();
    keyboard.act({ kind: 'events', events: Array.from({ length: 30 }, (_, i) => roleEvent(i)) });
    keyboard.type('\u001b[B\u001b[B\u001b[A');
    const top = keyboard.state.eventsTop;
    expect(shownEvents(keyboard.state).find(({ seq }) => seq === top)?.text).toBe('e28');
    keyboard.act({ kind: 'events', events: [roleEvent(30)] });
    expect(keyboard.state.eventsTop).toBe(top);
    keyboard.type('\u001b[H');
    expect(keyboard.state.eventsTop).toBeUndefined();
  });

  it('f goes through the event levels', () => {
    const keyboard = new Keyboard().ready();
    const levels = Array.from({ length: 4 }, () => {
      keyboard.type('f');
      return keyboard.state.level;
    });
    expect(levels).toEqual([3, 0, 1, 2]);
  });

  it('help opens on ? and closes without doing anything else', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('?');
    expect(keyboard.state.mode.kind).toBe('help');
    expect(keyboard.type('crzx')).toEqual([]);
    expect(keyboard.type('q')).toEqual([]);
    expect(keyboard.state.mode.kind).toBe('normal');
    keyboard.type('?');
    expect(keyboard.type('\u0003')).toEqual([{ kind: 'quit' }]);
  });
});

describe('the state', () => {
  it('is bounded', () => {
    const keyboard = new Keyboard().ready();
    const many = Array.from(
      { length: 3 * EVENTS_MAX },
      (_, i) => ({ atMs: i, node: 1, level: 1, kind: 'role', text: `e${i}` }) as const,
    );
    keyboard.act({ kind: 'events', events: many });
    expect(keyboard.state.events).toHaveLength(EVENTS_MAX);
    for (let id = 1; id <= 200; id++) {
      keyboard.act({
        kind: 'result',
        result: { id, request: 'set x 1', verdict: 'ok', answer: '', tookMs: 1 },
      });
    }
    expect(keyboard.state.results).toHaveLength(50);
    expect(keyboard.state.results[0]?.id).toBe(200);
    keyboard.act({
      kind: 'result',
      result: { id: 199, request: 'set x 1', verdict: 'unknown', answer: '', tookMs: 2 },
    });
    expect(keyboard.state.results[1]).toMatchObject({ id: 199, verdict: 'unknown' });
  });

  it('counts a run of commits on one line, and keeps what is between two runs', () => {
    const keyboard = new Keyboard().ready();
    keyboard.act({ kind: 'events', events: [commit(1), commit(2)] });
    keyboard.act({ kind: 'events', events: [commit(3), roleEvent(4), commit(5), { ...commit(6), node: 3 }] });
    expect(keyboard.state.events.map(({ text, earlierCount, seq }) => [text, earlierCount, seq])).toEqual([
      ['to 3', 2, 3],
      ['e4', 0, 4],
      ['to 5', 0, 5],
      ['to 6', 0, 6],
    ]);
    keyboard.act({ kind: 'events', events: [roleEvent(7), roleEvent(7), roleEvent(8)] });
    expect(keyboard.state.events.slice(-2).map(({ text, earlierCount }) => [text, earlierCount])).toEqual([
      ['e7', 1],
      ['e8', 0],
    ]);
  });

  it('forgets a toast after its time', () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('r');
    keyboard.act({ kind: 'tick', nowMs: keyboard.nowMs + TOAST_MS - 1 });
    expect(keyboard.toast).toBeDefined();
    keyboard.act({ kind: 'tick', nowMs: keyboard.nowMs + TOAST_MS });
    expect(keyboard.toast).toBeUndefined();
  });

  it("leaves out the cluster's echo of what the user did, and nothing else", () => {
    const keyboard = new Keyboard().ready();
    keyboard.type('c');
    const atMs = (keyboard.state.events[0]?.atMs ?? 0) + 20;
    keyboard.act({
      kind: 'events',
      events: [
        { atMs, node: 1, level: 0, kind: 'crash', text: 'crash n1' },
        { atMs, node: 1, level: 1, kind: 'crash', text: 'crashed: memory gone' },
        { atMs: atMs + 5000, node: 1, level: 0, kind: 'restart', text: 'restart n1 by the API' },
      ],
    });
    expect(keyboard.state.events.map((event) => event.text)).toEqual([
      'crash n1',
      'crashed: memory gone',
      'restart n1 by the API',
    ]);
  });
});
