/** How things look: glyphs and their ASCII twins, colours, and lines of exact width. Shape carries the meaning; colour repeats it. */
import { clip, width } from './text.ts';

/** Symbols one cell wide. Every one has an ASCII twin, for fonts and terminals that draw them two cells wide. */
export interface Glyphs {
  readonly leader: string;
  readonly follower: string;
  readonly candidate: string;
  readonly preCandidate: string;
  readonly learner: string;
  readonly witness: string;
  readonly joining: string;
  readonly leaving: string;
  readonly outside: string;
  readonly crashed: string;
  readonly frozen: string;
  readonly yes: string;
  readonly no: string;
  readonly missing: string;
  readonly full: string;
  readonly empty: string;
  readonly horizontal: string;
  readonly vertical: string;
  readonly topLeft: string;
  readonly topRight: string;
  readonly bottomLeft: string;
  readonly bottomRight: string;
  readonly pointer: string;
  readonly cursor: string;
  readonly live: string;
  readonly ellipsis: string;
  readonly to: string;
}

const UNICODE: Glyphs = {
  leader: '★',
  follower: '○',
  candidate: '◐',
  preCandidate: '◇',
  learner: '☆',
  witness: '◌',
  joining: '△',
  leaving: '▽',
  outside: '□',
  crashed: '✕',
  frozen: '‖',
  yes: '✓',
  no: '✗',
  missing: '·',
  full: '▓',
  empty: '░',
  horizontal: '─',
  vertical: '│',
  topLeft: '┌',
  topRight: '┐',
  bottomLeft: '└',
  bottomRight: '┘',
  pointer: '›',
  cursor: '▏',
  live: '▶',
  ellipsis: '…',
  to: '→',
};

const ASCII: Glyphs = {
  leader: 'L',
  follower: 'F',
  candidate: 'C',
  preCandidate: 'P',
  learner: 'N',
  witness: 'W',
  joining: '^',
  leaving: 'v',
  outside: 'o',
  crashed: 'X',
  frozen: 'Z',
  yes: '+',
  no: '-',
  missing: '.',
  full: '#',
  empty: '.',
  horizontal: '-',
  vertical: '|',
  topLeft: '+',
  topRight: '+',
  bottomLeft: '+',
  bottomRight: '+',
  pointer: '>',
  cursor: '_',
  live: '>',
  ellipsis: '~',
  to: '>',
};

/** SGR parameters. The sixteen basic colours follow the user's own theme, light or dark. */
export type Style = 'plain' | 'bold' | 'dim' | 'inverse' | 'good' | 'bad' | 'warn' | 'accent' | TermStyle;
type TermStyle = 'term0' | 'term1' | 'term2' | 'term3' | 'term4' | 'term5' | 'term6';

/*
 * Terms: the Okabe-Ito palette in a fixed order, nearest of the 256 colours (those reach every terminal), as
 * background under black text: on black the seven hues have a contrast of 4:1 and more.
 */
const SGR: Readonly<Record<Style, { readonly shape: string; readonly hue: string }>> = {
  plain: { shape: '', hue: '' },
  bold: { shape: '1', hue: '' },
  dim: { shape: '2', hue: '' },
  inverse: { shape: '7', hue: '' },
  good: { shape: '', hue: '32' },
  bad: { shape: '1', hue: '31' },
  warn: { shape: '', hue: '33' },
  accent: { shape: '1', hue: '36' },
  term0: { shape: '', hue: '30;48;5;214' },
  term1: { shape: '', hue: '30;48;5;74' },
  term2: { shape: '', hue: '30;48;5;36' },
  term3: { shape: '', hue: '30;48;5;227' },
  term4: { shape: '', hue: '30;48;5;32' },
  term5: { shape: '', hue: '30;48;5;166' },
  term6: { shape: '', hue: '30;48;5;175' },
};

const TERMS: readonly TermStyle[] = ['term0', 'term1', 'term2', 'term3', 'term4', 'term5', 'term6'];

/** The style of a term's entries. Terms seven apart share one; the number beside them does not. */
export function termStyle(term: number): Style {
  return TERMS[Math.max(0, term - 1) % TERMS.length] ?? 'term0';
}

/** A piece of a line: bare text, or text with a style. */
export type Part = string | readonly [text: string, style: Style];

/** Glyphs and colours as this terminal should get them. Immutable. */
export class Look {
  readonly glyphs: Glyphs;
  readonly ascii: boolean;
  readonly colour: boolean;

  /** @param options `colour` false leaves only bold, dim and inverse (NO_COLOR) */
  constructor(options: { readonly ascii: boolean; readonly colour: boolean }) {
    this.ascii = options.ascii;
    this.colour = options.colour;
    this.glyphs = options.ascii ? ASCII : UNICODE;
  }

  /** The parts as one line of exactly `cells`: clipped with an ellipsis, or padded with blanks. */
  line(cells: number, ...parts: readonly Part[]): string {
    let left = cells;
    let out = '';
    for (const part of parts) {
      if (left <= 0) break;
      const [text, style] = typeof part === 'string' ? ([part, 'plain'] as const) : part;
      const shown = clip(text, left, this.glyphs.ellipsis);
      out += this.#paint(shown, style);
      left -= width(shown);
      if (shown !== text) break;
    }
    return out + ' '.repeat(Math.max(0, left));
  }

  /** Left parts and right parts on one line of `cells`; the left ones give way. */
  spread(cells: number, left: readonly Part[], right: readonly Part[]): string {
    const rightCells = Math.min(cells, partsWidth(right));
    return this.line(cells - rightCells, ...left) + this.line(rightCells, ...right);
  }

  /** `body` in a frame of exactly `cells` by `rows`, with a title at the left and a note at the right of its top edge. */
  box(options: {
    readonly cells: number;
    readonly rows: number;
    readonly title: readonly Part[];
    readonly note?: readonly Part[];
    readonly isFocused?: boolean;
    readonly body: readonly string[];
  }): readonly string[] {
    const { cells, rows, body } = options;
    const g = this.glyphs;
    const edge: Style = options.isFocused === true ? 'accent' : 'dim';
    const note = options.note ?? [];
    const { titleCells, noteCells } = shareOf(cells - 4, options.title, note);
    const fill = Math.max(0, cells - 4 - titleCells - noteCells);
    const top =
      this.line(2, [g.topLeft + (options.isFocused === true ? g.pointer : ' '), edge]) +
      this.line(titleCells, ...options.title) +
      this.line(fill + 1, [` ${g.horizontal.repeat(fill)}`, edge]) +
      this.line(noteCells, ' ', ...note, ' ') +
      this.line(1, [g.topRight, edge]);
    const side = this.line(1, [g.vertical, edge]);
    const blank = ' '.repeat(Math.max(0, cells - 2));
    const lines = [top];
    for (let i = 0; i < rows - 2; i++) lines.push(side + (body[i] ?? blank) + side);
    lines.push(this.line(cells, [g.bottomLeft + g.horizontal.repeat(cells - 2) + g.bottomRight, edge]));
    return lines;
  }

  /** A heading that needs one line instead of a frame: `── title ───── note ──`. */
  rule(cells: number, title: readonly Part[], note: readonly Part[], isFocused: boolean): string {
    const g = this.glyphs;
    const edge: Style = isFocused ? 'accent' : 'dim';
    const { titleCells, noteCells } = shareOf(cells - 6, title, note);
    const fill = Math.max(0, cells - titleCells - noteCells - 6);
    return (
      this.line(3, [`${g.horizontal}${isFocused ? g.pointer : g.horizontal} `, edge]) +
      this.line(titleCells, ...title) +
      this.line(fill + 1, [` ${g.horizontal.repeat(fill)}`, edge]) +
      this.line(noteCells, ' ', ...note, ' ') +
      this.line(2, [g.horizontal.repeat(2), edge])
    );
  }

  #paint(text: string, style: Style): string {
    const { shape, hue } = SGR[style];
    const codes = this.colour && hue !== '' ? (shape === '' ? hue : `${shape};${hue}`) : shape;
    return codes === '' || text === '' ? text : `\u001b[${codes}m${text}\u001b[0m`;
  }
}

/** Cells that the parts take. */
export function partsWidth(parts: readonly Part[]): number {
  let cells = 0;
  for (const part of parts) cells += width(typeof part === 'string' ? part : part[0]);
  return cells;
}

/** How title and note share the `cells` of a top edge: neither may push the other, or the corner, away. */
function shareOf(
  cells: number,
  title: readonly Part[],
  note: readonly Part[],
): { readonly titleCells: number; readonly noteCells: number } {
  const wanted = partsWidth(title);
  const atLeast = Math.min(wanted, Math.floor(cells * 0.6));
  const noteCells = note.length === 0 ? 0 : Math.min(partsWidth(note) + 2, cells - atLeast);
  return { titleCells: Math.min(wanted, cells - noteCells), noteCells };
}
