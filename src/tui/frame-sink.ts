/**
 * Puts whole frames on a terminal: only the cells that changed, each run at its own place, between synchronized-update
 * brackets. It never clears the screen and never scrolls. While the terminal is busy, only the newest frame is kept.
 *
 * It stands in for Ink's own output, which for a frame as tall as the screen clears screen and scrollback every time.
 */
import { cellsOf, Painter, type Cells } from './cells.ts';

/** Where the bytes go. One write at a time. */
export interface FrameOutput {
  /** Sends `text` and calls `done` once, when the terminal has taken all of it. */
  write(text: string, done: () => void): void;
}

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/* Mode 2026 makes the terminal show the frame at once; terminals that do not know it ignore it. */
const BEGIN = '\u001b[?2026h';
const END = '\u001b[?2026l';
/** One terminal's screen. Lines of a frame hold text and SGR sequences only, and are at most `columns` wide. */
export class FrameSink {
  readonly #output: FrameOutput;
  #size: FrameSize;
  /** What the screen shows, line by line; undefined where that is not known. */
  #shown: ({ readonly line: string; readonly cells: Cells } | undefined)[] = [];
  /** The newest frame that could not be written yet. */
  #pending: string | undefined;
  #isBusy = false;
  #isClosed = false;
  #writtenBytes = 0;
  #onIdle: (() => void) | undefined;

  constructor(output: FrameOutput, size: FrameSize) {
    this.#output = output;
    this.#size = size;
  }

  get columns(): number {
    return this.#size.columns;
  }

  get rows(): number {
    return this.#size.rows;
  }

  /** Whether {@link close} was called: nothing is written any more. */
  get closed(): boolean {
    return this.#isClosed;
  }

  /** Bytes written so far. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Shows `frame`, its lines separated by `\n`. Lines beyond the screen are left out; missing ones are blank. */
  write(frame: string): void {
    if (this.#isClosed) return;
    if (this.#isBusy) {
      this.#pending = frame;
      return;
    }
    const changes = this.#diff(frame);
    if (changes === '') return;
    this.#isBusy = true;
    const text = BEGIN + changes + END;
    this.#writtenBytes += Buffer.byteLength(text);
    this.#output.write(text, () => this.#drained());
  }

  /** The terminal has another size: the next frame is written in full. */
  resize(size: FrameSize): void {
    this.#size = size;
    this.repaint();
  }

  /** Something else wrote to the screen: the next frame is written in full. */
  repaint(): void {
    this.#shown = [];
    this.#pending = undefined;
  }

  /** Writes nothing from now on, so that nothing lands on the shell's screen afterwards. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#pending = undefined;
  }

  /** Undoes {@link close}, after a suspension. */
  reopen(): void {
    this.#isClosed = false;
    this.repaint();
  }

  /** Resolves when no write is under way. */
  idle(): Promise<void> {
    if (!this.#isBusy) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #diff(frame: string): string {
    const { columns, rows } = this.#size;
    const lines = frame.split('\n', rows);
    const painter = new Painter();
    for (let row = 0; row < rows; row++) {
      const line = lines[row] ?? '';
      const shown = this.#shown[row];
      if (shown?.line === line) continue;
      const cells = cellsOf(line, columns);
      painter.paint(row, shown?.cells, cells);
      this.#shown[row] = { line, cells };
    }
    return painter.finish();
  }

  #drained(): void {
    this.#isBusy = false;
    const frame = this.#pending;
    this.#pending = undefined;
    if (frame !== undefined) this.write(frame);
    if (!this.#isBusy) {
      this.#onIdle?.();
      this.#onIdle = undefined;
    }
  }
}
