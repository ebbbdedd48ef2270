/** Runs the real screen without a terminal: frames as text, bytes as they would be sent, and an emulator that shows them. */
import headless from '@xterm/headless';
import type { ClusterHandle } from '../../src/cluster/api.ts';
import type { ClusterEvent } from '../../src/cluster/view.ts';
import { FrameSink, type FrameOutput, type FrameSize } from '../../src/tui/frame-sink.ts';
import { InkScreen } from '../../src/tui/ink-screen.ts';
import { update } from '../../src/tui/key-actions.ts';
import { KeyDecoder } from '../../src/tui/keys.ts';
import { Look } from '../../src/tui/look.ts';
import { initialState, type Effect, type State } from '../../src/tui/state.ts';

// oxlint-disable-next-line no-control-regex -- ESC is what starts a sequence
export const SGR: RegExp = /\u001b\[[0-9;]*m/g;

/** Collects what is written; acknowledges at once unless `isSlow`. */
export class Recorder implements FrameOutput {
  readonly writes: string[] = [];
  isSlow = false;
  #release: (() => void) | undefined;

  write(text: string, done: () => void): void {
    this.writes.push(text);
    if (this.isSlow) this.#release = done;
    else done();
  }

  /** The slow terminal has taken the last write. */
  release(): void {
    const done = this.#release;
    this.#release = undefined;
    done?.();
  }

  get text(): string {
    return this.writes.join('');
  }
}

/** The screen with a reducer behind it, driven by hand. */
export class Bench {
  readonly recorder = new Recorder();
  readonly sink: FrameSink;
  readonly effects: Effect[] = [];
  state: State;
  nowMs = 1000;
  readonly #screen: InkScreen;
  readonly #frames: string[] = [];
  readonly #keys = new KeyDecoder();

  constructor(
    size: FrameSize,
    nodeCount: number,
    look: { readonly ascii?: boolean; readonly colour?: boolean } = {},
  ) {
    const ascii = look.ascii ?? false;
    this.sink = new FrameSink(this.recorder, size);
    const write = this.sink.write.bind(this.sink);
    this.sink.write = (frame) => {
      this.#frames.push(frame);
      write(frame);
    };
    this.#screen = new InkScreen(this.sink, new Look({ ascii, colour: look.colour ?? true }), (error) => {
      throw error;
    });
    this.state = initialState({ size, nodeCount, ascii });
  }

  /** Takes the handle's present view, and its events from now on. */
  attach(handle: ClusterHandle): void {
    handle.onView((view) => this.act({ kind: 'view', view, nowMs: this.nowMs }));
    handle.onEvent((event: ClusterEvent) => this.act({ kind: 'events', events: [event] }));
    this.act({ kind: 'view', view: handle.view(), nowMs: this.nowMs });
    this.act({ kind: 'ready' });
  }

  act(action: Parameters<typeof update>[1]): void {
    const next = update(this.state, action);
    this.state = next.state;
    this.effects.push(...next.effects);
  }

  /** Types `text` (escape sequences allowed), a second between two keys. */
  type(text: string): void {
    for (const key of this.#keys.push(new TextEncoder().encode(text))) {
      this.nowMs += 1000;
      this.act({ kind: 'key', key, nowMs: this.nowMs });
    }
  }

  resize(size: FrameSize): void {
    this.sink.resize(size);
    this.act({ kind: 'resize', size });
  }

  /** Draws the state. @returns the frame as Ink made it */
  draw(): string {
    this.#screen.show(this.state);
    return this.#frames.at(-1) ?? '';
  }

  /** Draws the state. @returns the frame without colours */
  text(): string {
    return this.draw().replace(SGR, '');
  }

  close(): void {
    this.sink.close();
    this.#screen.close();
  }
}

/** A terminal emulator that was fed `bytes`. */
export async function emulate(size: FrameSize, bytes: string): Promise<headless.Terminal> {
  const terminal = new headless.Terminal({
    cols: size.columns,
    rows: size.rows,
    allowProposedApi: true,
    scrollback: 1000,
  });
  await feed(terminal, bytes);
  return terminal;
}

export function feed(terminal: headless.Terminal, bytes: string): Promise<void> {
  return new Promise((resolve) => terminal.write(bytes, resolve));
}

/** The lines on an emulator's screen, without blanks at their ends. */
export function screenOf(terminal: headless.Terminal): readonly string[] {
  const buffer = terminal.buffer.active;
  return Array.from({ length: terminal.rows }, (_, row) =>
    (buffer.getLine(buffer.viewportY + row)?.translateToString(false, 0, terminal.cols) ?? '').trimEnd(),
  );
}
