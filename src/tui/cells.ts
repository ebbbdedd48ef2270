/**
 * Lines as cells, and the bytes that turn one line on the screen into another. Only characters and the few styles
 * known here come out, whatever went in.
 */
import { width } from './text.ts';

/** A line of the screen. Both lists have one element a column. Immutable once made. */
export interface Cells {
  /** The character in each cell; empty in the second cell of a wide one. */
  readonly texts: readonly string[];
  /** SGR parameters in force there; empty for none. */
  readonly styles: readonly string[];
}

/** Unchanged cells between two changes that are cheaper sent again than skipped by addressing the cursor. */
const GAP_CELLS_MAX = 6;
const RESET = '\u001b[m';
const ERASE_TO_END = '\u001b[K';

interface Style {
  isBold: boolean;
  isDim: boolean;
  isInverse: boolean;
  foreground: string;
  background: string;
}

/** The cells of a line of text and SGR sequences: cut or padded to `columns`. Other controls are left out. */
export function cellsOf(line: string, columns: number): Cells {
  const texts: string[] = [];
  const styles: string[] = [];
  const style: Style = { isBold: false, isDim: false, isInverse: false, foreground: '', background: '' };
  let shown = '';
  for (let i = 0; i < line.length && texts.length < columns;) {
    const code = line.codePointAt(i) ?? 0;
    const c = String.fromCodePoint(code);
    i += c.length;
    if (code === 0x1b && line[i] === '[') {
      const end = line.indexOf('m', i);
      if (end === -1) break;
      applySgr(style, line.slice(i + 1, end));
      shown = parametersOf(style);
      i = end + 1;
      continue;
    }
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) continue;
    const cells = code < 0x7f ? 1 : width(c);
    if (texts.length + cells > columns) break;
    texts.push(c);
    styles.push(shown);
    if (cells === 2) {
      texts.push('');
      styles.push(shown);
    }
  }
  while (texts.length < columns) {
    texts.push(' ');
    styles.push('');
  }
  return { texts, styles };
}

/** Bold, dim, inverse, the basic colours and those of the 256: what this screen uses. */
function applySgr(style: Style, parameters: string): void {
  const codes = parameters.split(';').map(Number);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] ?? 0;
    if (code === 0)
      Object.assign(style, { isBold: false, isDim: false, isInverse: false, foreground: '', background: '' });
    else if (code === 1) style.isBold = true;
    else if (code === 2) style.isDim = true;
    else if (code === 7) style.isInverse = true;
    else if (code === 22) Object.assign(style, { isBold: false, isDim: false });
    else if (code === 27) style.isInverse = false;
    else if (code >= 30 && code <= 37) style.foreground = String(code);
    else if (code === 39) style.foreground = '';
    else if (code >= 40 && code <= 47) style.background = String(code);
    else if (code === 49) style.background = '';
    else if (code === 38 || code === 48) {
      const colour = `${code};5;${codes[i + 2] ?? 0}`;
      if (code === 38) style.foreground = colour;
      else style.background = colour;
      i += 2;
    }
  }
}

function parametersOf(style: Style): string {
  const codes: string[] = [];
  if (style.isBold) codes.push('1');
  if (style.isDim) codes.push('2');
  if (style.isInverse) codes.push('7');
  if (style.foreground !== '') codes.push(style.foreground);
  if (style.background !== '') codes.push(style.background);
  return codes.join(';');
}

/** Collects the bytes of one update of the screen, row by row. */
export class Painter {
  #out = '';
  #style = '';

  /** Turns the line in `row` (from 0) into `next`; `shown` undefined: it is not known what is there. */
  paint(row: number, shown: Cells | undefined, next: Cells): void {
    const columns = next.texts.length;
    const end = contentEnd(next);
    let column = 0;
    while (column < columns) {
      if (shown !== undefined && isSame(shown, next, column)) {
        column += 1;
        continue;
      }
      const from = column;
      column = shown === undefined ? columns : runEnd(shown, next, column);
      this.#out += `\u001b[${row + 1};${from + 1}H`;
      this.#cells(next, from, Math.min(column, Math.max(from, end)));
      // Behind a full line the cursor still stands on the last cell: erasing there would take that cell with it.
      if (column > end) {
        this.#setStyle('');
        this.#out += ERASE_TO_END;
        return;
      }
    }
  }

  /** The bytes so far, with no style left on. */
  finish(): string {
    this.#setStyle('');
    return this.#out;
  }

  #cells(line: Cells, from: number, to: number): void {
    for (let column = from; column < to; column++) {
      const text = line.texts[column] ?? ' ';
      if (text === '') continue;
      this.#setStyle(line.styles[column] ?? '');
      this.#out += text;
    }
  }

  #setStyle(style: string): void {
    if (style === this.#style) return;
    this.#out += style === '' ? RESET : `\u001b[${this.#style === '' ? '' : '0;'}${style}m`;
    this.#style = style;
  }
}

function isSame(a: Cells, b: Cells, column: number): boolean {
  return a.texts[column] === b.texts[column] && a.styles[column] === b.styles[column];
}

/** Where the run of changes that begins at `from` ends; short stretches without a change are part of it. */
function runEnd(shown: Cells, next: Cells, from: number): number {
  let end = from + 1;
  for (let column = end; column < next.texts.length && column - end <= GAP_CELLS_MAX; column++) {
    if (!isSame(shown, next, column)) end = column + 1;
  }
  return end;
}

/** The column behind the last cell that is not blank. */
function contentEnd(line: Cells): number {
  let end = line.texts.length;
  while (end > 0 && line.texts[end - 1] === ' ' && line.styles[end - 1] === '') end -= 1;
  return end;
}
