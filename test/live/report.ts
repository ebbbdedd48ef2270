/** What the campaigns print: the machine, progress, percentiles, results as lines or as JSON. */
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';

export interface Summary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** Nearest-rank percentiles, rounded to whole units. Zeros for no values. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = (p: number): number => Math.round(sorted[Math.ceil(p * sorted.length) - 1] ?? 0);
  return { count: sorted.length, p50: rank(0.5), p99: rank(0.99), max: rank(1) };
}

/** Where the numbers come from. */
export function machine(): Record<string, unknown> {
  const list = cpus();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpus: list.length,
    cpu: list[0]?.model ?? 'unknown',
    load: loadavg().map((load) => Number(load.toFixed(1))),
  };
}

/** One line on standard error, so that standard output holds the result alone. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The result: one JSON object, or a line for each field. */
export function print(result: Readonly<Record<string, unknown>>, asJson: boolean): void {
  if (asJson) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  for (const [name, value] of Object.entries(result)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    process.stdout.write(`${name.padEnd(14)} ${text}\n`);
  }
}

/** An option that takes a value. */
export interface Option {
  readonly help: string;
  readonly value: string;
}

/**
 * Reads the command line of a campaign. Prints the help and ends the process for `--help`, and for what it does not
 * know with exit code 64.
 *
 * @param options by name, with their default values
 */
export function readArguments<Name extends string>(
  name: string,
  description: string,
  options: Readonly<Record<Name, Option>>,
): {
  readonly json: boolean;
  readonly text: (name: Name) => string;
  readonly number: (name: Name) => number;
  /** As {@link number}, and with a fraction if need be. */
  readonly decimal: (name: Name) => number;
} {
  const config = new Map<string, { readonly type: 'string'; readonly default: string }>();
  for (const [option, { value }] of Object.entries<Option>(options)) {
    config.set(option, { type: 'string', default: value });
  }
  try {
    const { values } = parseArgs({
      options: { ...Object.fromEntries(config), json: { type: 'boolean' }, help: { type: 'boolean' } },
    });
    if (values['help'] === true) {
      process.stdout.write(help(name, description, options));
      process.exit(0);
    }
    const given = new Map<string, string | boolean | undefined>(Object.entries(values));
    const text = (option: Name): string => String(given.get(option));
    const decimal = (option: Name): number => {
      const parsed = Number(text(option));
      if (text(option).trim() === '' || !(parsed >= 0 && parsed <= Number.MAX_SAFE_INTEGER))
        fail(`--${option} needs a number`);
      return parsed;
    };
    const number = (option: Name): number => {
      const parsed = decimal(option);
      if (!Number.isInteger(parsed)) fail(`--${option} needs a whole number`);
      return parsed;
    };
    return { json: values['json'] === true, text, number, decimal };
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(64);
}

function help(name: string, description: string, options: Readonly<Record<string, Option>>): string {
  const lines = Object.entries(options).map(
    ([option, { help: what, value }]) =>
      `  --${option.padEnd(12)} ${what}${value === '' ? '' : ` (default ${value})`}`,
  );
  return `npm run ${name} -- [options]\n\n${description}\n\n${lines.join('\n')}\n  --${'json'.padEnd(12)} print the result as one JSON object\n`;
}
