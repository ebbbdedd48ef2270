/**
 * Puts blocks of lines where Ink's layout wants them. Ink lays out one mark a block instead of its text: Ink 6 takes
 * every styled line apart and together again at every frame (measured: three quarters of the time a frame takes), and
 * keeps every text it has ever measured (9 KB a frame, hundreds of megabytes an hour).
 */
import { assert } from '../lib/assert.ts';

/** Marks are private-use characters, one cell wide. None can come from a cluster: `display` shows those by number. */
const FIRST_MARK = 0xe000;
const BLOCKS_MAX = 100;
const MARKS = /[\ue000-\ue063]/g;

interface Block {
  readonly lines: readonly string[];
  readonly cells: number;
  readonly rows: number;
}

/** The blocks of one frame. Used again for the next one after {@link Placement.begin}. */
export class Placement {
  #blocks: Block[] = [];

  /** Forgets the blocks of the last frame. */
  begin(): void {
    this.#blocks = [];
  }

  /**
   * Takes a block of `rows` lines, each exactly `cells` wide or empty; lines beyond `rows` are left out.
   *
   * @returns the text to lay out in its upper left corner
   */
  add(lines: readonly string[], cells: number, rows: number): string {
    assert(this.#blocks.length < BLOCKS_MAX, 'Too many blocks on one screen');
    this.#blocks.push({ lines, cells, rows });
    return String.fromCharCode(FIRST_MARK + this.#blocks.length - 1);
  }

  /** The frame that Ink laid out, with every block in the place of its mark. Text without marks stays as it is. */
  compose(frame: string): string {
    const rows: { column: number; cells: number; line: string }[][] = [];
    const laid = frame.split('\n');
    for (const [row, text] of laid.entries()) {
      for (const mark of text.matchAll(MARKS)) {
        const block = this.#blocks[mark[0].charCodeAt(0) - FIRST_MARK];
        if (block === undefined) continue;
        for (let i = 0; i < block.rows; i++) {
          const line = block.lines[i] ?? '';
          (rows[row + i] ??= []).push({ column: mark.index, cells: block.cells, line });
        }
      }
    }
    const lines: string[] = [];
    for (let row = 0; row < Math.max(laid.length, rows.length); row++) {
      const pieces = rows[row];
      lines.push(
        pieces === undefined ? (laid[row] ?? '') : joined(pieces.toSorted((a, b) => a.column - b.column)),
      );
    }
    return lines.join('\n');
  }
}

function joined(
  pieces: readonly { readonly column: number; readonly cells: number; readonly line: string }[],
): string {
  let out = '';
  let column = 0;
  for (const piece of pieces) {
    out +=
      ' '.repeat(Math.max(0, piece.column - column)) +
      (piece.line === '' ? ' '.repeat(piece.cells) : piece.line);
    column = piece.column + piece.cells;
  }
  return out;
}
