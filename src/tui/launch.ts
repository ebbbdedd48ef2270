/**
 * Starts the UI. This file and what it imports are small: the first frame is on the screen before Ink and React are
 * loaded and before the cluster runs.
 */
import type { ClusterHandle } from '../cluster/api.ts';
import { FrameSink } from './frame-sink.ts';
import type { Key } from './keys.ts';
import { Look } from './look.ts';
import { Terminal } from './terminal.ts';
import { TtyOutput } from './tty-output.ts';

/** What came before the session could take it. */
interface Early {
  readonly keys: Key[];
  readonly stray: string[];
  /** A signal has asked to end. */
  isOver: boolean;
}

/** How long the last frame may take to reach the terminal before that is given up. */
const LAST_FRAME_MS = 200;

export interface TuiOptions {
  /** The cluster, started or about to. Stays the caller's, who stops it after {@link runTui} has settled. */
  readonly cluster: Promise<ClusterHandle>;
  /** How many nodes it will have. */
  readonly nodes: number;
  /** Only ASCII on the screen. Default false. */
  readonly ascii?: boolean;
}

/** Why the UI cannot be shown here, in one sentence; undefined when it can. */
export function whyNoTui(): string | undefined {
  if (!process.stdout.isTTY) return 'The output is not a terminal';
  if (!process.stdin.isTTY) return 'The input is not a terminal (in Git Bash, start with winpty)';
  if (process.env['TERM'] === 'dumb') return 'TERM is dumb: the terminal cannot place text';
  return undefined;
}

/**
 * Runs the UI on the process's terminal until the user quits or a signal asks to end (the exit code is set then).
 * The terminal is restored whatever happens; an exception anywhere in the process ends it with exit code 70.
 * Needs a terminal: see {@link whyNoTui}.
 *
 * @throws what `cluster` rejects with
 */
export async function runTui(options: TuiOptions): Promise<void> {
  // Handled when the session asks for it; until then it must not count as unhandled.
  options.cluster.catch(() => undefined);
  const ascii = options.ascii ?? false;
  const look = new Look({ ascii, colour: wantsColour() });
  const output = new TtyOutput();
  const terminal = new Terminal(output);
  const sink = new FrameSink(output, terminal.size);
  const early: Early = { keys: [], stray: [], isOver: false };
  terminal.listeners.onLeave = () => sink.close();
  terminal.listeners.onKeys = (keys) => void early.keys.push(...keys);
  terminal.listeners.onStray = (text) => void early.stray.push(text);
  terminal.listeners.onSignal = () => {
    early.isOver = true;
  };
  terminal.open();
  sink.write(firstFrame(options.nodes, sink.columns, look));
  try {
    await runSession(options, { terminal, sink, look, early });
  } finally {
    await drained(sink);
    terminal.close();
  }
}

async function runSession(
  options: TuiOptions,
  parts: {
    readonly terminal: Terminal;
    readonly sink: FrameSink;
    readonly look: Look;
    readonly early: Early;
  },
): Promise<void> {
  const { terminal, sink, look } = parts;
  const [{ Session }, { InkScreen }] = await Promise.all([import('./session.ts'), import('./ink-screen.ts')]);
  const screen = new InkScreen(sink, look, (error) => terminal.crash(error));
  const session = new Session({
    cluster: options.cluster,
    nodes: options.nodes,
    ascii: look.ascii,
    size: terminal.size,
    show: (state) => screen.show(state),
    suspend: () => terminal.suspend(),
  });
  const { listeners } = terminal;
  listeners.onKeys = (keys) => session.keys(keys);
  listeners.onStray = (text) => session.stray(text);
  listeners.onSignal = () => session.end();
  listeners.onResize = (size) => {
    sink.resize(size);
    session.resize(size);
  };
  listeners.onEnter = () => {
    sink.reopen();
    sink.resize(terminal.size);
    session.resize(terminal.size);
  };
  try {
    const running = session.run();
    if (parts.early.isOver) session.end();
    session.keys(parts.early.keys);
    for (const text of parts.early.stray) session.stray(text);
    await running;
  } finally {
    session.close();
    sink.close();
    screen.close();
  }
}

function firstFrame(nodes: number, columns: number, look: Look): string {
  return [look.line(columns, ' ', ['OXIDE-KV', 'bold'], '  starting'), '', `  Starting ${nodes} nodes`].join(
    '\n',
  );
}

/* A frame that is half written when the terminal is given back would end on the shell's screen. */
async function drained(sink: FrameSink): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LAST_FRAME_MS);
  });
  await Promise.race([sink.idle(), late]);
  clearTimeout(timer);
}

/** NO_COLOR with any value but an empty one turns colours off (no-color.org), and so does FORCE_COLOR=0. */
function wantsColour(): boolean {
  const { NO_COLOR: no, FORCE_COLOR: force } = process.env;
  return (no === undefined || no === '') && force !== '0';
}
