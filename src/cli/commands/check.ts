/** `oxide-kv check`: judges a recorded history and tells the story of the operations that have no order. */
import { createReadStream } from 'node:fs';
import { unreachable } from '../../lib/assert.ts';
import { messageOf } from '../../lib/errors.ts';
import {
  formatOperation,
  HISTORY_LIMITS,
  HistoryError,
  HistoryReader,
  type Operation,
} from '../../sim/history.ts';
import { judgeHistory, STEPS_MAX, type Verdict } from '../../sim/linearizability.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { EXIT } from '../failure.ts';
import { Progress } from '../progress.ts';

/** The file is not there or not a history. */
const EXIT_MALFORMED = 2;
/** The budget was not enough. */
const EXIT_UNDECIDED = 3;

const STORY_LINES_MAX = 40;
const KEYS_SHOWN_MAX = 8;

/** Exit code 0 for linearizable, 1 for a violation, 2 for a file that cannot be read, 3 for undecided. */
export const command: Command = {
  name: 'check',
  positionals: ['HISTORY'],
  description: [
    'Checks whether a history is linearizable: whether every operation can have taken effect at one moment between its start and its end, all in one order. HISTORY is a file of JSON lines, or "-" for standard input.',
    'One operation a line: {"process":1,"op":"set","key":"k","value":"v","start":"10","end":"25","outcome":"ok"}. The op is get, set, delete, cas (with "expected" and "swapped") or txn (with a list "ops" of the others, at one moment); null is the value of an absent key; "existed" of a delete may be left out. Times are nanoseconds as strings. The outcome is ok, fail (certainly without effect) or unknown (at any time after its start, or never).',
    'Exit codes: 0 linearizable, 1 not linearizable, 2 the file cannot be read, 3 undecided within the budget.',
  ],
  options: [
    {
      name: 'budget-ms',
      value: 'N',
      help: `Decide in this time, or end undecided (default ${STEPS_MAX.toLocaleString('en')} steps, some seconds)`,
    },
    { name: 'json', help: 'Print one JSON document' },
  ],
  examples: [
    { line: 'oxide-kv check history.jsonl', why: 'Say what is wrong, if anything is' },
    { line: 'oxide-kv check history.jsonl --json | jq .reason', why: 'For a script' },
    { line: 'oxide-kv check - --budget-ms 60000 < history.jsonl', why: 'A hard one, for at most a minute' },
  ],
  async run(args, context) {
    const budgetMs = args.integer('budget-ms', { min: 1, max: 86_400_000 }, undefined);
    const progress = new Progress(context, args);
    let history: readonly Operation[];
    try {
      history = await read(args.positional(0), context, progress);
    } catch (error) {
      return report(error, args, context, progress);
    }
    const deadlineMs = budgetMs === undefined ? Infinity : performance.now() + budgetMs;
    const verdict = judgeHistory(history, {
      stepsMax: budgetMs === undefined ? STEPS_MAX : Number.MAX_SAFE_INTEGER,
      isOver: () => performance.now() > deadlineMs,
      onProgress: (judged) => progress.show(`Judged ${judged} of ${history.length} operations`),
    });
    progress.clear();
    if (args.has('json')) context.out.json(jsonOf(verdict, history));
    else for (const line of linesOf(verdict, history)) context.out.line(line);
    return exitCodeOf(verdict);
  },
};

function exitCodeOf({ kind }: Verdict): number {
  if (kind === 'linearizable') return EXIT.ok;
  return kind === 'violation' ? EXIT.failed : EXIT_UNDECIDED;
}

async function read(path: string, context: Context, progress: Progress): Promise<readonly Operation[]> {
  const reader = new HistoryReader();
  if (path === '-') {
    reader.push(await context.readStdin(HISTORY_LIMITS.bytesMax));
    return reader.finish();
  }
  for await (const chunk of createReadStream(path)) {
    const bytes: unknown = chunk;
    if (bytes instanceof Uint8Array) reader.push(bytes);
    progress.show(`Read ${reader.count} operations`);
  }
  return reader.finish();
}

/** A file that cannot be read, or is not a history. Anything else is left to the command line. */
function report(error: unknown, args: Args, context: Context, progress: Progress): number {
  progress.clear();
  const isFromSystem = error instanceof Error && 'syscall' in error;
  if (!(error instanceof HistoryError) && !isFromSystem) throw error;
  const message = isFromSystem ? `Cannot read history: ${messageOf(error)}` : messageOf(error);
  if (args.has('json')) context.out.json({ ok: false, code: 'bad_request', message });
  else context.err.line(`oxide-kv: ${message}`);
  return EXIT_MALFORMED;
}

function jsonOf(verdict: Verdict, history: readonly Operation[]): object {
  const operations = history.length;
  switch (verdict.kind) {
    case 'linearizable':
      return { result: 'linearizable', operations };
    case 'undecided':
      return { result: 'undecided', operations, keys: verdict.keys, steps: verdict.after };
    case 'violation': {
      const { keys, story } = verdict;
      const told = story.lines.map(({ operation, text }) => {
        const fields: unknown = JSON.parse(formatOperation(operation));
        return { text, operation: fields };
      });
      return { result: 'violation', operations, keys, reason: story.reason, story: told };
    }
    default:
      return unreachable(verdict);
  }
}

function linesOf(verdict: Verdict, history: readonly Operation[]): readonly string[] {
  const noun = history.length === 1 ? 'operation' : 'operations';
  const count = `${history.length.toLocaleString('en')} ${noun}`;
  switch (verdict.kind) {
    case 'linearizable':
      return [`Linearizable: ${count}${outcomesOf(history)}`];
    case 'undecided': {
      const steps = verdict.after.toLocaleString('en');
      return [
        `Undecided after ${steps} steps: ${keysText(verdict.keys)}`,
        'No violation was found elsewhere. Fewer concurrent clients a key, or a larger --budget-ms, decide more',
      ];
    }
    case 'violation': {
      const { story, keys } = verdict;
      const shown = storyLines(story.lines.slice(0, STORY_LINES_MAX), history);
      const more = story.lines.length - STORY_LINES_MAX;
      return [
        `Not linearizable: ${keysText(keys)}. Of ${count}, these show it:`,
        ...shown,
        ...(more > 0 ? [`… and ${more} more`] : []),
        story.reason,
      ];
    }
    default:
      return unreachable(verdict);
  }
}

function outcomesOf(history: readonly Operation[]): string {
  const unknown = history.filter(({ outcome }) => outcome === 'unknown').length;
  const failed = history.filter(({ outcome }) => outcome === 'fail').length;
  return unknown + failed === 0 ? '' : `, of which ${failed} failed and ${unknown} are unknown`;
}

function keysText(keys: readonly string[]): string {
  const shown = keys.slice(0, KEYS_SHOWN_MAX).map((key) => JSON.stringify(key.slice(0, 80)));
  const more = keys.length > shown.length ? ` and ${keys.length - shown.length} more` : '';
  return `${keys.length === 1 ? 'key' : 'keys'} ${shown.join(', ')}${more}`;
}

type StoryLines = readonly { readonly operation: Operation; readonly text: string }[];

/** `#1    0.000 ms to 1.500 ms  process 3  set "k" to "a"`, in columns; times count from the first start of the history. */
function storyLines(lines: StoryLines, history: readonly Operation[]): readonly string[] {
  let origin = history[0]?.start ?? 0n;
  for (const { start } of history) if (start < origin) origin = start;
  const ms = (time: bigint): string => `${(Number(time - origin) / 1e6).toFixed(3)} ms`;
  const rows = lines.map(({ operation: { start, end, process }, text }, index) => [
    `#${index + 1}`,
    `${ms(start)} ${end === undefined ? 'without an end' : `to ${ms(end)}`}`,
    `process ${process}`,
    text,
  ]);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`);
}
