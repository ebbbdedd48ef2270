/** Command-line options: what a command declares, and the strict reading of what was typed. */
import { parseArgs } from 'node:util';
import { nearest } from './nearest.ts';
import { UsageError } from './failure.ts';

/** One option of a command. */
export interface OptionSpec {
  /** Without dashes. */
  readonly name: string;
  readonly short?: string;
  /** Name of the value in the help, as `MS`. Absent: a switch. */
  readonly value?: string;
  /** May be given several times, and each time as a list with commas. */
  readonly list?: boolean;
  /** Takes all words up to the next option: `--peers A B`. Implies `list`. */
  readonly variadic?: boolean;
  /** One sentence without its period. */
  readonly help: string;
}

/** What the command line of a command may hold. */
export interface Syntax {
  readonly name: string;
  /** Names of the arguments; optional ones in brackets, last: `['KEY', '[VALUE]']`. */
  readonly positionals: readonly string[];
  readonly options: readonly OptionSpec[];
}

/** A command line that was read and found right. */
export class Args {
  readonly positionals: readonly string[];
  readonly #values: ReadonlyMap<string, readonly string[]>;

  /** @param values the texts of every option given, by name; a switch holds one empty text */
  constructor(positionals: readonly string[], values: ReadonlyMap<string, readonly string[]>) {
    this.positionals = positionals;
    this.#values = values;
  }

  /** The argument at this place; empty when an optional one was left out. */
  positional(index: number): string {
    return this.positionals[index] ?? '';
  }

  /** Whether the option was given at all. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The value of an option; the last one wins. */
  text(name: string): string | undefined {
    return this.#values.get(name)?.at(-1);
  }

  /** Every value of a list option, split at commas, empty ones left out. */
  list(name: string): readonly string[] {
    return splitList(this.#values.get(name) ?? []);
  }

  /** The value of an option as an integer within limits, or `otherwise`. Throws a {@link UsageError}. */
  integer<T>(name: string, limits: { readonly min: number; readonly max: number }, otherwise: T): number | T {
    const text = this.text(name);
    if (text === undefined) return otherwise;
    const value = /^-?[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= limits.min && value <= limits.max) return value;
    throw new UsageError(
      `Option --${name} is "${text}", expected a whole number from ${limits.min} to ${limits.max}`,
    );
  }
}

/** Splits every text at commas and drops empty parts. */
export function splitList(texts: readonly string[]): readonly string[] {
  return texts
    .flatMap((text) => text.split(','))
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** Whether help was asked for, in front of a `--`. Help wins over any mistake in the rest. */
export function asksForHelp(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === '--help' || word === '-h');
}

/**
 * Reads the words behind a command's name. Throws a {@link UsageError} for an unknown option, a missing or needless
 * value, and for too few or too many arguments.
 */
export function readArgs(syntax: Syntax, argv: readonly string[]): Args {
  const specs = new Map(syntax.options.map((option) => [option.name, option]));
  const config = Object.fromEntries(
    syntax.options.map((option) => [
      option.name,
      {
        type: option.value === undefined ? ('boolean' as const) : ('string' as const),
        multiple: true,
        ...(option.short === undefined ? {} : { short: option.short }),
      },
    ]),
  );
  // Not `strict`: the tokens are judged below, where the option's own words are at hand for the message.
  const { tokens } = parseArgs({
    args: [...argv],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const positionals: string[] = [];
  const values = new Map<string, string[]>();
  let variadic: string[] | undefined;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') {
      variadic = undefined;
    } else if (token.kind === 'positional') {
      (variadic ?? positionals).push(token.value);
    } else {
      const spec = specs.get(token.name);
      if (spec === undefined) throw unknownOption(syntax, token.rawName);
      const given = values.get(spec.name) ?? [];
      given.push(valueOf(spec, token));
      values.set(spec.name, given);
      variadic = spec.variadic === true ? given : undefined;
    }
  }
  checkCount(syntax, positionals);
  return new Args(positionals, values);
}

interface OptionToken {
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function valueOf(spec: OptionSpec, token: OptionToken): string {
  if (spec.value === undefined) {
    if (token.value === undefined) return '';
    throw new UsageError(`Option ${token.rawName} takes no value, got "${token.value}"`);
  }
  const isNextOption = token.inlineValue !== true && /^-./.test(token.value ?? '');
  if (token.value !== undefined && !isNextOption) return token.value;
  throw new UsageError(
    `Option ${token.rawName} needs a value: ${token.rawName} ${spec.value}`,
    isNextOption ? `For a value that begins with a dash write ${token.rawName}=${token.value}` : '',
  );
}

function unknownOption(syntax: Syntax, rawName: string): UsageError {
  const names = syntax.options.map((option) => option.name);
  const near = rawName.startsWith('--') ? nearest(rawName.slice(2), names) : undefined;
  if (near !== undefined) {
    return new UsageError(`Unknown option ${rawName} for "${syntax.name}"`, `Did you mean --${near}?`);
  }
  const help = `See: oxide-kv help ${syntax.name}`;
  return new UsageError(
    `Unknown option ${rawName} for "${syntax.name}"`,
    syntax.positionals.length === 0 ? help : `${help}. A value that begins with a dash goes behind "--"`,
  );
}

function checkCount(syntax: Syntax, positionals: readonly string[]): void {
  const missing = syntax.positionals[positionals.length];
  if (missing !== undefined && !missing.startsWith('[')) {
    throw new UsageError(`Command "${syntax.name}" needs ${missing}`, `Usage: ${usageLine(syntax)}`);
  }
  const extra = positionals[syntax.positionals.length];
  if (extra === undefined) return;
  throw new UsageError(`Unexpected argument "${extra}" for "${syntax.name}"`, `Usage: ${usageLine(syntax)}`);
}

/** `oxide-kv get KEY [options]` */
export function usageLine(syntax: Syntax): string {
  return ['oxide-kv', syntax.name, ...syntax.positionals, '[options]'].join(' ');
}
