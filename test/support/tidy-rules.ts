/** The rules of test/tidy.test.ts: each takes parsed files and returns what breaks it, one line a finding. */
import { posix } from 'node:path';
import type { ExportFact, ImportFact, SourceFile } from './source-file.ts';

/** What one folder or file under `src` may import. Its own folder it may always import. */
export interface Permission {
  /** `raft`, `cluster/node-thread.ts`, `workers`, `bin`; a file has the permissions of its folder too. */
  readonly from: string;
  /** Folders or files it may import values and types from. */
  readonly values: readonly string[];
  /** Folders or files it may import nothing but types from. */
  readonly types: readonly string[];
  /** Packages and `node:` modules. `type:` in front: nothing but types. */
  readonly modules: readonly string[];
  readonly why: string;
}

/** Imports between files that the permissions do not allow. */
export function forbiddenImports(file: SourceFile, table: readonly Permission[]): readonly string[] {
  if (file.path.startsWith('test/')) return [];
  const place = placeOf(file.path);
  const granted = table.filter(({ from }) => from === place || from === folderOf(place));
  const words: string[] = [];
  for (const one of file.imports) {
    if (isAllowed(one, place, granted)) continue;
    const what = one.isType ? 'types of' : 'values of';
    words.push(`${file.path}:${one.line}: ${folderOf(place)} may not import ${what} "${one.specifier}"`);
  }
  return words;
}

function isAllowed(one: ImportFact, place: string, granted: readonly Permission[]): boolean {
  if (!one.specifier.startsWith('.')) {
    const names = granted.flatMap((row) => row.modules);
    return names.includes(one.specifier) || (one.isType && names.includes(`type:${one.specifier}`));
  }
  // Workers and bin are beside src: `../src/cli/main.ts`.
  const target = placeOf(posix.join('src', posix.dirname(place), one.specifier).replace('src/src/', 'src/'));
  if (folderOf(target) === folderOf(place)) return true;
  const names = granted.flatMap((row) => (one.isType ? [...row.values, ...row.types] : row.values));
  return names.includes(target) || names.includes(folderOf(target));
}

/** `raft/core.ts` for `src/raft/core.ts`; other paths as they are. */
function placeOf(path: string): string {
  return path.replace(/^src\//, '');
}

/** The folder that a place belongs to; a file at the root of `src` is its own. */
function folderOf(place: string): string {
  return place.split('/')[0] ?? place;
}

const IMPURE_NAMES: ReadonlySet<string> = new Set([
  'Date',
  'Promise',
  'process',
  'performance',
  'crypto',
  'console',
  'globalThis',
  'queueMicrotask',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'fetch',
  'require',
  'Worker',
  'Atomics',
  'WeakRef',
  'FinalizationRegistry',
]);
const IMPURE_SYNTAX: ReadonlySet<string> = new Set(['async', 'await', 'Math.random']);

/** Clocks, chance, timers and promises in a file that must be a function of its inputs. */
export function impurities(file: SourceFile): readonly string[] {
  const found = [
    ...file.names.filter(({ what }) => IMPURE_NAMES.has(what)),
    ...file.syntax.filter(({ what }) => IMPURE_SYNTAX.has(what)),
  ];
  return found.map(({ what, line }) => `${file.path}:${line}: ${what} in pure code`);
}

/** Lines of a file and of a function, at most. */
export const SIZE_LIMITS: { readonly fileLines: number; readonly functionLines: number } = {
  fileLines: 600,
  functionLines: 70,
};

/** Files over the cap. */
export function oversizedFiles(file: SourceFile, linesMax: number): readonly string[] {
  return file.lineCount > linesMax ? [`${file.path}: ${file.lineCount} lines, at most ${linesMax}`] : [];
}

/** Functions over the cap. The callback of a `describe` is as long as its tests and does not count. */
export function oversizedFunctions(file: SourceFile, linesMax: number): readonly string[] {
  return file.functions
    .filter((one) => one.lineCount > linesMax && !one.isSuite)
    .map(
      ({ name, line, lineCount }) =>
        `${file.path}:${line}: ${name} has ${lineCount} lines, at most ${linesMax}`,
    );
}

/** A file that does not say first what its one job is. */
export function missingOpening(file: SourceFile): readonly string[] {
  return file.opensWithComment ? [] : [`${file.path}: does not open with a comment`];
}

/** Types up to this size say by their fields what they are. */
const SMALL_TYPE_LINES = 12;

/** Exported symbols without a docstring, unless something else documents them: see {@link isSelfEvident}. */
export function undocumentedExports(file: SourceFile): readonly string[] {
  const classes = file.exports.filter((one) => one.kind === 'class');
  const documented = new Set(file.exports.filter((one) => one.isDocumented).map((one) => one.endLine));
  const missing: string[] = [];
  for (const one of file.exports) {
    // A block of one-line constants shares the docstring above it.
    const isOfBlock = one.kind === 'value' && one.line === one.endLine && documented.has(one.line - 1);
    if (one.isDocumented || isOfBlock) documented.add(one.endLine);
    else if (!isSelfEvident(one, classes.length))
      missing.push(`${file.path}:${one.line}: ${one.name} has no docstring`);
  }
  return missing;
}

/** A file's only class is its one job, told at its top; a type tells by its members; a constant may tell by its unit. */
function isSelfEvident(one: ExportFact, classCount: number): boolean {
  if (one.kind === 'class') return classCount === 1;
  if (one.kind === 'type') return one.hasCommentsInside || one.endLine - one.line < SMALL_TYPE_LINES;
  return /^[A-Z_]+_(?:BYTES|MS|MIN|MAX|FORMAT)$/.test(one.name) && one.line === one.endLine;
}

const BANNED_SYNTAX: ReadonlySet<string> = new Set(['any', '!', 'enum', 'namespace']);

/** `any`, `!`, `enum` and `namespace`. */
export function bannedSyntax(file: SourceFile): readonly string[] {
  return file.syntax
    .filter(({ what }) => BANNED_SYNTAX.has(what))
    .map(({ what, line }) => `${file.path}:${line}: ${what} is not used here`);
}

/** A test that may be left out on purpose, and why. */
export interface AllowedSkip {
  readonly path: string;
  readonly what: string;
  readonly why: string;
}

/** Tests that are skipped, focused, expected to fail or tried again. */
export function skippedTests(file: SourceFile, allowed: readonly AllowedSkip[]): readonly string[] {
  if (!/\.test\.tsx?$|^vitest\./.test(file.path)) return [];
  return file.syntax
    .filter(({ what }) => /^(?:it|test|describe|suite)\.|^retry$/.test(what))
    .filter(({ what }) => !allowed.some((one) => one.path === file.path && one.what === what))
    .map(({ what, line }) => `${file.path}:${line}: ${what} keeps a test from saying what it says`);
}

/** Words that tell of the making instead of the thing, each with a name for the finding. */
const PROCESS_WORDS: readonly (readonly [RegExp, string])[] = [
  [/\b(?:TODO|FIXME|XXX|HACK)\b/, 'unfinished work'],
  [/@ts-(?:ignore|expect-error|nocheck)/, 'a silenced compiler'],
  [/\b(?:issue|ticket|pull request|milestone|sprint)\s*#?\d+/i, 'a number of a tracker'],
  [/(?:^|\s)#\d+\b/, 'a number of a tracker'],
  [/\b(?:reviewer|as requested|per the brief|code review|LLM|ChatGPT|Claude|Copilot)\b/i, 'the making of it'],
  [/\b(?:used to be|was previously|formerly|no longer needed|refactored)\b/i, 'history'],
];

/** Sources by their number in the tracker of another project, as `etcd #1207 and #1761`: citations. */
const CITATIONS =
  /\b(?:axon|CCF|consul|curvine|hashicorp\/raft|LogCabin|NuRaft|canonical\/raft|etcd(?:-io\/raft)?|jraft|openraft|ra|raft-rs|redpanda) (?:issue )?#?\d+(?:(?:,| and) #\d+)*/g;

/** Comments that speak of trackers, history or unfinished work. */
export function processWords(file: SourceFile): readonly string[] {
  return file.comments.flatMap(({ what, line }) =>
    wordsIn(what).map((name) => `${file.path}:${line}: a comment speaks of ${name}`),
  );
}

/** The same for a page of prose, with the paths of somebody's machine. */
export function proseFindings(path: string, text: string): readonly string[] {
  // Links to headings are fine, and so is what a program prints.
  const prose = text.replaceAll(/\]\(#[^)]*\)/g, '').replaceAll(/^```[\s\S]*?^```$/gm, '');
  const words = wordsIn(prose).map((name) => `${path}: speaks of ${name}`);
  return [...words, ...machinePaths(path, text)];
}

function wordsIn(text: string): readonly string[] {
  const lines = text.replaceAll(CITATIONS, '').split('\n');
  return PROCESS_WORDS.filter(([pattern]) => lines.some((line) => pattern.test(line))).map(
    ([, name]) => name,
  );
}

/** Switches of the linter whose reason stands neither behind them, nor above, nor at the same switch further up. */
export function silencedLinters(file: SourceFile): readonly string[] {
  const explained = new Set<string>();
  const missing: string[] = [];
  for (const [index, { what, line }] of file.comments.entries()) {
    const [, rule, reason] = /lint-disable(?:-next-line|-line)?\s+([\w/-]*)(.*)/.exec(what) ?? [];
    if (rule === undefined) continue;
    const above = file.comments[index - 1];
    const isToldAbove =
      above !== undefined && above.line === line - 1 && !above.what.includes('lint-disable');
    if (isToldAbove || / -- \S/.test(reason ?? '')) explained.add(rule);
    else if (!explained.has(rule)) missing.push(`${file.path}:${line}: silences the linter without a reason`);
  }
  return missing;
}

const MACHINE_PATHS = new RegExp(
  `(?<![\\w.\\]\`}])/(?:${['work', 'home', 'root', 'Users', 'tmp'].join('|')})(?=[/'"\`\\s])|[A-Z]:[\\\\/]+Users`,
);

/** Paths that exist on one machine only. */
export function machinePaths(path: string, text: string): readonly string[] {
  return text
    .split('\n')
    .flatMap((line, index) =>
      MACHINE_PATHS.test(line) ? [`${path}:${index + 1}: names a path of one machine`] : [],
    );
}

/** Imports of a package or `node:` module outside the places that it belongs to. */
export function strayModules(
  file: SourceFile,
  homes: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  if (file.path.startsWith('test/')) return [];
  return file.imports.flatMap(({ specifier, isType, line }) => {
    const home = homes.get(specifier);
    const isHome = home?.some((start) => file.path === start || file.path.startsWith(`${start}/`));
    return isType || isHome !== false
      ? []
      : [`${file.path}:${line}: "${specifier}" belongs to ${home?.join(', ')}`];
  });
}

/** What the value imports of each file lead to, by path; files outside the list are left out. */
function graphOf(files: readonly SourceFile[], withTypes: boolean): ReadonlyMap<string, readonly string[]> {
  const known = new Set(files.map((file) => file.path));
  const targets = (file: SourceFile): readonly string[] =>
    file.imports
      .filter((one) => one.specifier.startsWith('.') && (withTypes || !one.isType))
      .map((one) => posix.join(posix.dirname(file.path), one.specifier))
      .filter((target) => known.has(target));
  return new Map(files.map((file) => [file.path, targets(file)]));
}

/** Files that import each other's values in a circle. */
export function fileCycles(files: readonly SourceFile[]): readonly string[] {
  return cyclesOf(graphOf(files, false)).map((cycle) => `cyclic import: ${cycle.join(' → ')}`);
}

/**
 * Folders of `src` that import each other in a circle.
 *
 * @param allowed imports of types that close a circle on purpose, as `from → to`
 */
export function folderCycles(files: readonly SourceFile[], allowed: readonly string[]): readonly string[] {
  const folders = new Map<string, Set<string>>();
  for (const [path, targets] of graphOf(files, true)) {
    const from = folderOf(placeOf(path));
    const into = folders.get(from) ?? new Set<string>();
    folders.set(from, into);
    for (const target of targets.map((one) => folderOf(placeOf(one))))
      if (target !== from && !allowed.includes(`${from} → ${target}`)) into.add(target);
  }
  const graph = new Map([...folders].map(([from, into]) => [from, [...into]]));
  return cyclesOf(graph).map((cycle) => `cyclic folders: ${cycle.join(' → ')}`);
}

/** One cycle for each edge that closes one, first in depth. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): readonly (readonly string[])[] {
  const done = new Set<string>();
  const cycles: string[][] = [];
  const visit = (node: string, path: readonly string[]): void => {
    const start = path.indexOf(node);
    if (start !== -1) return void cycles.push([...path.slice(start), node]);
    if (done.has(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...path, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return cycles;
}

/** Files that can be reached from `roots` through imports, values or types. */
export function reachable(
  files: readonly SourceFile[],
  isRoot: (path: string) => boolean,
  withTypes = true,
): ReadonlySet<string> {
  const graph = graphOf(files, withTypes);
  const seen = new Set<string>();
  const waiting = files.map((file) => file.path).filter(isRoot);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    waiting.push(...(graph.get(path) ?? []));
  }
  return seen;
}

/** Source files that nothing uses. */
export function deadFiles(files: readonly SourceFile[]): readonly string[] {
  const used = reachable(files, (path) => path === 'src/index.ts' || !path.startsWith('src/'));
  return files.filter((file) => !used.has(file.path)).map((file) => `${file.path}: nothing imports it`);
}

/** Names at the top of the repository that do not belong there. */
export function strayNames(names: readonly string[], allowed: ReadonlySet<string>): readonly string[] {
  return names.filter((name) => !allowed.has(name)).map((name) => `${name}: does not belong at the top`);
}
