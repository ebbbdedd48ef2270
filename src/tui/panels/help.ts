/** The help: every key there is, in the words of the events. Two columns where there is room. */
import type { Look, Part } from '../look.ts';
import { fit } from '../text.ts';

type Entry = readonly [key: string, text: string];
type Section = readonly [title: string, entries: readonly Entry[]];

const LEFT: readonly Section[] = [
  [
    'Faults, on the selected node',
    [
      ['1-9 ← →', 'select a node'],
      ['c', 'crash: only the disk stays'],
      ['r', 'restart from its disk'],
      ['z', 'freeze, thaw: a long pause'],
      ['x', 'cut off from all, rejoin'],
    ],
  ],
  [
    'Members',
    [
      ['a', 'add a node, which votes'],
      ['A', 'add a learner'],
      ['v', 'let the learner vote'],
      ['D', 'remove, after a y'],
      ['R', 'replace by a new node'],
      ['t', 'transfer leadership to it'],
      ['S', 'snapshot, shortens its log'],
    ],
  ],
];

const RIGHT: readonly Section[] = [
  [
    'Faults, on the cluster',
    [
      ['p', 'partition into two groups'],
      ['h or P', 'heal every link'],
      ['b', 'bring every node back'],
    ],
  ],
  [
    'Clients',
    [
      ['w', 'write: x 1, del x, cas x 1 2'],
      ['e', 'read a key'],
      ['W', 'load of 20 writes/s on, off'],
    ],
  ],
  [
    'Screen',
    [
      ['Tab', 'next panel (Shift: previous)'],
      ['s', 'storage of the node, back'],
      ['↑ ↓', 'scroll, Esc to the newest'],
      ['f', 'events: level 0 to 3'],
      ['q Ctrl-C', 'quit, Ctrl-Z suspend'],
    ],
  ],
];

/** Lines within the frame. */
const BODY_ROWS = Math.max(rowsOf(LEFT), rowsOf(RIGHT)) + 4;

/** How far the help can be scrolled when it gets `rows` lines. */
export function helpTopMax(rows: number): number {
  return Math.max(0, BODY_ROWS - (rows - 2));
}

/** The help in `rows` lines of `cells`, from the line `top` on. The symbols come last: they have words beside them anyway. */
export function helpLines(options: {
  readonly cells: number;
  readonly rows: number;
  readonly top: number;
  readonly look: Look;
}): readonly string[] {
  const { cells, rows, look } = options;
  const inner = cells - 2;
  const topMax = helpTopMax(rows);
  const top = Math.min(options.top, topMax);
  const half = Math.floor(inner / 2);
  const left = columnOf(LEFT, look);
  const right = columnOf(RIGHT, look);
  const body: string[] = [];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    body.push(look.line(half, ...(left[i] ?? [])) + look.line(inner - half, ...(right[i] ?? [])));
  }
  const { glyphs } = look;
  const symbols = `${glyphs.leader} leader  ${glyphs.follower} follower  ${glyphs.candidate} candidate  ${glyphs.preCandidate} pre-vote  ${glyphs.crashed} crashed  ${glyphs.frozen} frozen`;
  const members = `${glyphs.learner} learner  ${glyphs.joining} joining  ${glyphs.leaving} leaving  ${glyphs.outside} outside: no member  ${glyphs.witness} witness`;
  body.push(
    look.line(inner),
    look.line(inner, [` ${symbols}`, 'dim']),
    look.line(inner, [` ${members}`, 'dim']),
  );
  body.push(
    look.line(inner, [
      ` [t] committed entry of term t  (t) not yet  ${glyphs.missing} missing  ! differs from the leader`,
      'dim',
    ]),
  );
  return look.box({
    cells,
    rows,
    title: [['Keys', 'bold']],
    note: [[top < topMax ? `${look.ascii ? 'dn' : '↓'} more, Esc closes` : 'Esc closes', 'dim']],
    isFocused: true,
    body: body.slice(top),
  });
}

function rowsOf(sections: readonly Section[]): number {
  return sections.reduce((count, [, entries]) => count + 1 + entries.length, 0);
}

function columnOf(sections: readonly Section[], look: Look): readonly (readonly Part[])[] {
  const lines: (readonly Part[])[] = [];
  for (const [title, entries] of sections) {
    lines.push([[` ${title}`, 'bold']]);
    for (const [key, text] of entries) lines.push([[`  ${fit(asciiArrows(key, look), 9)}`, 'accent'], text]);
  }
  return lines;
}

function asciiArrows(key: string, look: Look): string {
  if (!look.ascii) return key;
  return key.replace('← →', 'lt rt').replace('↑ ↓', 'up dn');
}
