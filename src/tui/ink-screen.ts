/** Runs Ink for its layout only: frames go to a FrameSink, keys and the terminal's modes are not Ink's business. */
import { render, type Instance } from 'ink';
import { createElement } from 'react';
import { App, PlacementContext } from './app.tsx';
import type { FrameSink } from './frame-sink.ts';
import type { Look } from './look.ts';
import { Placement } from './placement.ts';
import type { State } from './state.ts';

/** The one Ink instance of a screen. */
export class InkScreen {
  readonly #stdout: NodeJS.WriteStream;
  readonly #look: Look;
  readonly #placement = new Placement();
  readonly #onError: (error: unknown) => void;
  #instance: Instance | undefined;

  /** @param onError told when a component throws; the screen is of no use afterwards */
  constructor(sink: FrameSink, look: Look, onError: (error: unknown) => void) {
    this.#look = look;
    this.#onError = onError;
    this.#stdout = stdoutFor(sink, this.#placement);
  }

  /** Draws `state`, at once. */
  show(state: State): void {
    this.#placement.begin();
    const app = createElement(
      PlacementContext.Provider,
      { value: this.#placement },
      createElement(App, { state, look: this.#look }),
    );
    if (this.#instance !== undefined) {
      this.#instance.rerender(app);
      return;
    }
    this.#instance = render(app, {
      stdout: this.#stdout,
      // Whole frames at every commit, no console patching, no cursor games (and no notice of the CI variable).
      debug: true,
      patchConsole: false,
      exitOnCtrlC: false,
      isScreenReaderEnabled: false,
    });
    this.#instance.waitUntilExit().catch(this.#onError);
  }

  /** Ends Ink. Close the sink first: Ink draws a last frame. */
  close(): void {
    this.#instance?.unmount();
  }
}

/** Node's stdout with another way to write. Not a terminal to Ink, which would hide the cursor by itself. */
function stdoutFor(sink: FrameSink, placement: Placement): NodeJS.WriteStream {
  const write = (frame: string, encoding?: unknown, done?: unknown): boolean => {
    // Ink writes an empty text as a barrier when it ends.
    if (frame !== '') sink.write(placement.compose(frame));
    const callback = typeof encoding === 'function' ? encoding : done;
    if (typeof callback === 'function') process.nextTick(callback);
    return true;
  };
  const stdout: NodeJS.WriteStream = Object.create(process.stdout, {
    columns: { get: () => sink.columns },
    rows: { get: () => sink.rows },
    isTTY: { value: false },
    write: { value: write },
    on: { value: () => stdout },
    off: { value: () => stdout },
  });
  return stdout;
}
