/**
 * Takes the terminal over and gives it back, whatever happens: by key, by signal, by exception. Knows nothing of
 * what is drawn.
 */
import type { FrameSize } from './frame-sink.ts';
import { ESCAPE_WAIT_MS, KeyDecoder, type Key } from './keys.ts';
import type { TtyOutput } from './tty-output.ts';

/* Alternate screen, cursor hidden, no automatic wrap (the last cell must not scroll), bracketed paste. */
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[?2004h';
/* ESC \ first: it ends whatever sequence a half-written frame left open. */
const LEAVE = '\u001b\\\u001b[0m\u001b[?2026l\u001b[?2004l\u001b[?7h\u001b[?25h\u001b[?1049l';

/** Exit code after an exception (EX_SOFTWARE of sysexits.h). */
const EXIT_INTERNAL = 70;
const HANGUP_EXIT = 129;
const SIGNAL_EXITS: readonly (readonly [signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP', code: number])[] = [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', HANGUP_EXIT],
];
/** How long the caller may take to stop the cluster after a signal, before the process ends anyway. */
const SIGNAL_GRACE_MS = 5000;
const RESIZE_SETTLE_MS = 50;
const RESUME_CHECK_MS = 100;

/** What the terminal tells its owner. All optional; each may be replaced at any time. */
export interface TerminalListeners {
  onKeys?: (keys: readonly Key[]) => void;
  onResize?: (size: FrameSize) => void;
  /** A signal asks to end. The terminal is restored already, and the exit code set. */
  onSignal?: () => void;
  /** Called before the terminal is given back, also at a crash: nothing may be written after it. */
  onLeave?: () => void;
  /** The terminal is ours again after a suspension. */
  onEnter?: () => void;
  /** Something in this process printed; it would have spoilt the screen. */
  onStray?: (text: string) => void;
}

/** The process's own terminal. There is one; {@link Terminal.enter} and {@link Terminal.restore} may alternate. */
export class Terminal {
  readonly listeners: TerminalListeners = {};
  readonly #output: TtyOutput;
  readonly #keys = new KeyDecoder();
  readonly #undo: (() => void)[] = [];
  readonly #captured: (() => void)[] = [];
  #isEntered = false;
  #isStopped = false;
  #escapeTimer: NodeJS.Timeout | undefined;
  #resizeTimer: NodeJS.Timeout | undefined;

  constructor(output: TtyOutput) {
    this.#output = output;
  }

  /** Columns and rows now; 80 by 24 when the terminal does not say. */
  get size(): FrameSize {
    const { columns, rows } = process.stdout;
    return { columns: columns > 0 ? columns : 80, rows: rows > 0 ? rows : 24 };
  }

  /** Registers for every way to end, then takes the terminal over. Call once. */
  open(): void {
    this.#on('exit', () => this.restore());
    this.#on('uncaughtException', (error: unknown) => this.crash(error));
    this.#on('unhandledRejection', (error: unknown) => this.crash(error));
    for (const [signal, code] of SIGNAL_EXITS) this.#on(signal, () => this.#end(code));
    if (process.platform !== 'win32') {
      this.#on('SIGTSTP', () => this.#stop());
      this.#on('SIGCONT', () => this.#resume());
    }
    const onData = (bytes: Uint8Array): void => this.#receive(bytes);
    const onResize = (): void => this.#resized();
    // A terminal that is gone: the signal that tells it may come later.
    const onError = (): void => this.#end(HANGUP_EXIT);
    process.stdin.on('data', onData);
    process.stdin.on('error', onError);
    process.stdout.on('resize', onResize);
    this.#undo.push(() => {
      process.stdin.off('data', onData);
      process.stdin.off('error', onError);
      process.stdout.off('resize', onResize);
      process.stdin.pause();
    });
    this.enter();
  }

  /** Takes the terminal over. Does nothing when it is taken. */
  enter(): void {
    if (this.#isEntered) return;
    this.#isEntered = true;
    this.#output.writeNow(ENTER);
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
    process.stdin.resume();
    this.#captureOutput();
  }

  /** Gives the terminal back, synchronously. Does nothing when that has happened. */
  restore(): void {
    if (!this.#isEntered) return;
    this.#isEntered = false;
    this.listeners.onLeave?.();
    this.#releaseOutput();
    this.#output.writeNow(LEAVE);
    try {
      if (process.stdin.isTTY) process.stdin.setRawMode(false);
    } catch {
      return; // the terminal is gone, and its mode with it
    }
  }

  /** Gives the terminal back for good and forgets every handler. */
  close(): void {
    this.restore();
    clearTimeout(this.#escapeTimer);
    clearTimeout(this.#resizeTimer);
    for (const undo of this.#undo.splice(0)) undo();
  }

  /** Ends the process after a bug: the terminal first, then the error where it can be read. */
  crash(error: unknown): void {
    this.restore();
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.exitCode = EXIT_INTERNAL;
    process.stderr.write(`${text}\n`);
    process.exit(EXIT_INTERNAL);
  }

  /** Ctrl-Z: stops this process and the others of its job (npx, npm), as the terminal itself would have. */
  suspend(): void {
    if (process.platform !== 'win32') process.kill(0, 'SIGTSTP');
  }

  #end(code: number): void {
    this.restore();
    process.exitCode = code;
    setTimeout(() => process.exit(code), SIGNAL_GRACE_MS).unref();
    if (this.listeners.onSignal === undefined) process.exit(code);
    else this.listeners.onSignal();
  }

  /* With our own handler gone the signal stops the process as usual. Where nothing could continue it (an orphaned
   * job), the kernel ignores it, and the timer takes the terminal back. */
  #stop(): void {
    this.restore();
    this.#isStopped = true;
    process.removeAllListeners('SIGTSTP');
    process.kill(process.pid, 'SIGTSTP');
    setTimeout(() => {
      if (this.#isStopped) this.#resume();
    }, RESUME_CHECK_MS);
  }

  #resume(): void {
    this.#isStopped = false;
    if (process.listenerCount('SIGTSTP') === 0) this.#on('SIGTSTP', () => this.#stop());
    // Stopped from outside, by SIGSTOP: the shell has changed the terminal's modes behind our back.
    if (this.#isEntered) this.restore();
    this.enter();
    this.listeners.onEnter?.();
  }

  #receive(bytes: Uint8Array): void {
    clearTimeout(this.#escapeTimer);
    this.#deliver(this.#keys.push(bytes));
    if (this.#keys.isPending) {
      this.#escapeTimer = setTimeout(() => this.#deliver(this.#keys.flush()), ESCAPE_WAIT_MS);
    }
  }

  #deliver(keys: readonly Key[]): void {
    if (keys.length > 0) this.listeners.onKeys?.(keys);
  }

  /* A window dragged by the mouse reports dozens of sizes. */
  #resized(): void {
    clearTimeout(this.#resizeTimer);
    this.#resizeTimer = setTimeout(() => this.listeners.onResize?.(this.size), RESIZE_SETTLE_MS);
  }

  #on(
    event: 'exit' | 'uncaughtException' | 'unhandledRejection' | NodeJS.Signals,
    run: (value: unknown) => void,
  ): void {
    process.on(event, run);
    this.#undo.push(() => process.off(event, run));
  }

  /* Whatever else this process prints (a warning, a stray console.log) would land in the middle of a frame. */
  #captureOutput(): void {
    for (const stream of [process.stdout, process.stderr]) {
      // Put back as it is; called only as the stream's own method.
      // oxlint-disable-next-line typescript/unbound-method
      const original = stream.write;
      const report = (text: string): void => this.listeners.onStray?.(text);
      stream.write = (chunk: string | Uint8Array, encoding?: unknown, done?: unknown): boolean => {
        report(typeof chunk === 'string' ? chunk : new TextDecoder().decode(chunk));
        const callback = typeof encoding === 'function' ? encoding : done;
        if (typeof callback === 'function') process.nextTick(callback);
        return true;
      };
      this.#captured.push(() => {
        stream.write = original;
      });
    }
  }

  #releaseOutput(): void {
    for (const undo of this.#captured.splice(0)) undo();
  }
}
