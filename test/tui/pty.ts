/**
 * A shell in a real terminal: under tmux on a server of its own, or under `script` with an emulator behind it where
 * there is no tmux (or OXIDE_KV_PTY=script asks for it).
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import headless from '@xterm/headless';
import { screenOf } from './harness.ts';

/** The shell's prompt. */
export const PROMPT = 'ready$';
const SHELL = `env PS1='${PROMPT} ' NODE_ENV=production bash --norc --noprofile`;
const SIZE = { columns: 120, rows: 40 };

/** What the terminal itself is set to, whatever it shows. */
export interface TerminalFlags {
  readonly isAlternate: boolean;
  readonly isCursorShown: boolean;
  readonly isWrapping: boolean;
}

/** A terminal with a shell in it. */
export interface Pty {
  /** Types text, or the names Enter, Space, and C- with a letter. */
  keys(...names: readonly string[]): void;
  /** What is on the screen. */
  screen(): string;
  /** What is on the screen and has scrolled off it. */
  history(): string;
  flags(): TerminalFlags;
  resize(columns: number, rows: number): void;
  close(): void;
}

/** Opens a terminal of 120 by 40. Throws when this machine has none to offer. */
export function openPty(): Pty {
  const wantsScript = process.env['OXIDE_KV_PTY'] === 'script';
  if (!wantsScript && spawnSync('tmux', ['-V']).error === undefined) return new TmuxPty();
  if (spawnSync('script', ['--version']).error === undefined) return new ScriptPty();
  throw new Error('Cannot open a terminal: neither tmux nor script is installed');
}

class TmuxPty implements Pty {
  readonly #socket = `oxide-kv-test-${process.pid}`;

  constructor() {
    const { columns, rows } = SIZE;
    this.#run('-f', '/dev/null', 'new-session', '-d', '-s', 'ui', '-x', `${columns}`, '-y', `${rows}`, SHELL);
  }

  keys(...names: readonly string[]): void {
    this.#run('send-keys', '-t', 'ui', ...names);
  }

  screen(): string {
    return this.#run('capture-pane', '-p', '-t', 'ui');
  }

  history(): string {
    return this.#run('capture-pane', '-p', '-S', '-', '-t', 'ui');
  }

  flags(): TerminalFlags {
    const [alternate, cursor, wrap] = this.#run(
      'display',
      '-p',
      '-t',
      'ui',
      '#{alternate_on} #{cursor_flag} #{wrap_flag}',
    )
      .trim()
      .split(' ');
    return { isAlternate: alternate === '1', isCursorShown: cursor === '1', isWrapping: wrap === '1' };
  }

  resize(columns: number, rows: number): void {
    this.#run('resize-window', '-t', 'ui', '-x', `${columns}`, '-y', `${rows}`);
  }

  close(): void {
    spawnSync('tmux', ['-L', this.#socket, 'kill-server']);
  }

  #run(...args: readonly string[]): string {
    return execFileSync('tmux', ['-L', this.#socket, ...args], { encoding: 'utf8' });
  }
}

const KEYS: ReadonlyMap<string, string> = new Map([
  ['Enter', '\r'],
  ['Space', ' '],
]);

class ScriptPty implements Pty {
  readonly #child: ChildProcess;
  readonly #terminal: headless.Terminal;
  #received = '';

  constructor() {
    const { columns, rows } = SIZE;
    this.#terminal = new headless.Terminal({ cols: columns, rows, allowProposedApi: true, scrollback: 1000 });
    const command = `stty rows ${rows} cols ${columns}; exec ${SHELL}`;
    const args =
      process.platform === 'linux'
        ? ['-qfec', command, '/dev/null']
        : ['-q', '/dev/null', 'sh', '-c', command];
    this.#child = spawn('script', args, { env: { ...process.env, TERM: 'xterm-256color' } });
    this.#child.stdout?.on('data', (bytes: Uint8Array) => {
      this.#received += new TextDecoder().decode(bytes);
      this.#terminal.write(bytes);
    });
  }

  keys(...names: readonly string[]): void {
    for (const name of names) {
      const control = /^C-([a-z])$/.exec(name)?.[1];
      const text = KEYS.get(name) ?? name;
      this.#child.stdin?.write(
        control === undefined ? text : String.fromCharCode(control.charCodeAt(0) - 96),
      );
    }
  }

  screen(): string {
    return screenOf(this.#terminal).join('\n');
  }

  history(): string {
    const { normal } = this.#terminal.buffer;
    return Array.from(
      { length: normal.length },
      (_, i) => normal.getLine(i)?.translateToString(true) ?? '',
    ).join('\n');
  }

  flags(): TerminalFlags {
    return {
      isAlternate: this.#terminal.buffer.active.type === 'alternate',
      isCursorShown: this.#received.lastIndexOf('\u001b[?25h') >= this.#received.lastIndexOf('\u001b[?25l'),
      isWrapping: this.#terminal.modes.wraparoundMode,
    };
  }

  resize(columns: number, rows: number): void {
    for (const tty of this.#shell('tty')) {
      execFileSync('stty', ['-F', `/dev/${tty}`, 'rows', `${rows}`, 'cols', `${columns}`]);
    }
    this.#terminal.resize(columns, rows);
  }

  close(): void {
    // Without its shell, script ends by itself.
    for (const pid of this.#shell('pid')) process.kill(Number(pid), 'SIGKILL');
    this.#terminal.dispose();
  }

  /** A column of `ps` for the shell that script started. */
  #shell(column: 'pid' | 'tty'): readonly string[] {
    const found = spawnSync('ps', ['-o', `${column}=`, '--ppid', `${this.#child.pid}`], { encoding: 'utf8' });
    return found.stdout
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  }
}
