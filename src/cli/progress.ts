/** How far a long piece of work is: one line on a terminal's standard error that is written over and taken away at the end. */
import type { Args } from './args.ts';
import type { Context } from './command.ts';
import { bytesText } from './units.ts';

const PROGRESS_MS = 200;
const BAR_CELLS = 20;
const NAME_CHARACTERS_MAX = 30;

/** Shows nothing where nobody watches: without a terminal, and with `--json`. */
export class Progress {
  readonly #context: Context;
  readonly #isShown: boolean;
  #nextMs: number;
  #isDirty = false;

  constructor(context: Context, args: Args) {
    this.#context = context;
    this.#isShown = context.err.isTty && !args.has('json');
    this.#nextMs = performance.now() + PROGRESS_MS;
  }

  /** Shows `text`, unless another line was shown a moment ago. */
  show(text: string): void {
    const nowMs = performance.now();
    if (!this.#isShown || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + PROGRESS_MS;
    this.#isDirty = true;
    this.#context.err.write(`\r${text}\u001b[K`);
  }

  /** Takes the line away. Call it before anything else is written, and at the end. */
  clear(): void {
    if (this.#isDirty) this.#context.err.write('\r\u001b[K');
    this.#isDirty = false;
  }
}

/** `▓▓▓▓▓░░░░░░░░░░░░░░░  25%  3.0 of 12.0 MiB  wal/000001.wal`; `total` may turn out to be too small. */
export function progressBar(done: number, total: number, name: string): string {
  const share = total <= 0 ? 1 : Math.min(1, done / total);
  const cells = Math.floor(share * BAR_CELLS);
  const bar = '▓'.repeat(cells) + '░'.repeat(BAR_CELLS - cells);
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  return `${bar} ${percent}  ${bytesText(done)} of ${bytesText(Math.max(done, total))}  ${name.slice(-NAME_CHARACTERS_MAX)}`;
}
