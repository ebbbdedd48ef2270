/** The help: every key there is, in the words of the events. Two columns where there is room. */
import type { Look, Part } from '../look.ts';
import { fit } from '../text.ts';

type Entry = readonly [key: string, text: string];

const SECTIONS: readonly (readonly [title: string, entries: readonly Entry[]])[] = [
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
      ['↑ ↓', 'scroll, Esc to the newest'],
      ['f', 'events: level 0 to 3'],
      ['q Ctrl-C', 'quit, Ctrl-Z suspend'],
    ],
  ],
];

/** The help in `rows` lines of `cells`. What does not fit at the end are the symbols, which also have words beside them. */
export function helpLines(options: {
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { cells, rows, look } = options;
  const inner = cells - 2;
  const half = Math.floor(inner / 2);
  const left = columnOf(SECTIONS.slice(0, 2), look);
  const right = columnOf(SECTIONS.slice(2), look);
  const body: string[] = [];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    body.push(look.line(half, ...(left[i] ?? [])) + look.line(inner - half, ...(right[i] ?? [])));
  }
  const { glyphs } = look;
  const symbols = `${glyphs.leader} leader  ${glyphs.follower} follower  ${glyphs.candidate} candidate  ${glyphs.preCandidate} pre-vote  ${glyphs.crashed} crashed  ${glyphs.frozen} frozen`;
  body.push(look.line(inner), look.line(inner, [` ${symbols}`, 'dim']));
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
    note: [['Esc closes', 'dim']],
    isFocused: true,
    body,
  });
}

function columnOf(sections: typeof SECTIONS, look: Look): readonly (readonly Part[])[] {
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
