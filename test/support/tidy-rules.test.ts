/** Each rule of tidy-rules.ts fails on what breaks it, and only on that. */
import { describe, expect, test } from 'vitest';
import { type SourceFile, readSource } from './source-file.ts';
import {
  bannedSyntax,
  deadFiles,
  fileCycles,
  folderCycles,
  impurities,
  machinePaths,
  missingOpening,
  oversizedFiles,
  oversizedFunctions,
  processWords,
  proseFindings,
  reachable,
  silencedLinters,
  skippedTests,
  undocumentedExports,
} from './tidy-rules.ts';

/** What a rule finds in a made-up file. */
function findings(
  rule: (file: SourceFile) => readonly string[],
  text: string,
  path = 'src/raft/sample.ts',
): readonly string[] {
  return rule(readSource(path, text));
}

describe('each rule fails on what breaks it', () => {
  test.each([
    'const now = Date.now();',
    'const at = new Date();',
    'const chance = Math.random();',
    'setTimeout(() => undefined, 1);',
    'export async function run(): Promise<void> {}',
    'const later = Promise.resolve();',
    'export function later(): Promise<void> | undefined { return undefined; }',
    'const { pid } = process;',
    'queueMicrotask(run);',
    'const run = { performance };',
    'const size = await measure();',
  ])('pure code: %s', (text) => {
    expect(findings(impurities, text).length).toBeGreaterThan(0);
  });

  test('pure code may name fields as it likes', () => {
    expect(findings(impurities, 'const a = { process: 1, Date: 2 }; a.process += entry.Promise;')).toEqual(
      [],
    );
  });

  test('sizes', () => {
    expect(oversizedFiles(readSource('a.ts', '\n'.repeat(7)), 6)).toHaveLength(1);
    expect(oversizedFiles(readSource('a.ts', '\n'.repeat(6)), 6)).toEqual([]);
    for (const text of ['function f() {\n\n}', 'const f = () => {\n\n};', 'class A {\n f() {\n\n}\n}'])
      expect(findings((file) => oversizedFunctions(file, 2), text)).toEqual([
        'src/raft/sample.ts:1: f has 3 lines, at most 2'.replace(
          ':1:',
          text.startsWith('class') ? ':2:' : ':1:',
        ),
      ]);
    expect(findings((file) => oversizedFunctions(file, 2), "describe('x', () => {\n\n});")).toEqual([]);
    expect(findings((file) => oversizedFunctions(file, 2), "test('x', () => {\n\n});")).toHaveLength(1);
  });

  test('opening comments', () => {
    expect(findings(missingOpening, 'const a = 1; /** Too late. */')).toHaveLength(1);
    expect(findings(missingOpening, '')).toHaveLength(1);
    expect(findings(missingOpening, '#!/usr/bin/env node\n/** A job. */')).toEqual([]);
  });

  test.each([
    '/** A job. */\n\nexport function run() {}',
    '// Not a docstring.\nexport function run() {}',
    '/* Nor this. */\nexport const run = () => 1;',
    'export default function () {}',
    '/** A. */\nexport class A {}\nexport class B {}',
    '/** A. */\nexport const A = [\n];\nexport const RULES = [\n];',
    `export interface Large {\n${'  readonly a: 1;\n'.repeat(20)}}`,
  ])('docstrings: %j', (text) => {
    expect(findings(undocumentedExports, text)).toHaveLength(1);
  });

  test.each([
    '/** Runs. */\nexport function run() {}',
    'export class Only {}',
    'export interface Small { readonly a: 1 }',
    '/** Smallest sizes. */\nexport const A = 1;\nexport const B = 2;\nexport const C = 3;',
    'export const HEADER_BYTES = 4;',
    "export { run } from './run.ts';",
  ])('docstrings, enough: %j', (text) => {
    expect(findings(undocumentedExports, text)).toEqual([]);
  });

  test.each([
    'let a: any;',
    'const a = b!;',
    'let a!: number;',
    'class A { a!: number }',
    'enum E { A }',
    'const enum E { A }',
    'namespace N { const a = 1; }',
  ])('syntax: %s', (text) => {
    expect(findings(bannedSyntax, text)).toHaveLength(1);
  });

  test.each([
    ['skip', "it.skip('x', run);"],
    ['only', "describe.only('x', run);"],
    ['todo', "test.todo('x');"],
    ['skipIf', "describe.skipIf(true)('x', run);"],
    ['runIf', "test.runIf(false)('x', run);"],
    ['fails', "test.fails('x', run);"],
    ['each only', "test.each(rows).only('x', run);"],
    ['computed', "test['skip']('x', run);"],
    ['retry', "test('x', { retry: 2 }, run);"],
    ['vitest retry', 'vi.setConfig({ retry: 1 });'],
  ])('tests left out: %s', (_, text) => {
    expect(findings((file) => skippedTests(file, []), text, 'test/a.test.ts')).toHaveLength(1);
  });

  test('tests left out: allowed by path and name, and only that', () => {
    const allowed = [{ path: 'test/a.test.ts', what: 'test.skipIf', why: 'x' }];
    const rule = (file: SourceFile): readonly string[] => skippedTests(file, allowed);
    expect(findings(rule, "test.skipIf(true)('x', run);", 'test/a.test.ts')).toEqual([]);
    expect(findings(rule, "test.skip('x', run);", 'test/a.test.ts')).toHaveLength(1);
    expect(findings(rule, "test.skipIf(true)('x', run);", 'test/b.test.ts')).toHaveLength(1);
    const config = 'export default defineConfig({ test: { retry: 2 } });';
    expect(findings(rule, config, 'vitest.config.ts')).toHaveLength(1);
  });

  test.each([
    '// TODO: more',
    '/* FIXME */',
    '// @ts-expect-error wrong',
    '// see issue 12',
    '// fixes #12',
    '// as the reviewer said',
    '// This used to be a map.',
  ])('process words: %s', (text) => {
    expect(findings(processWords, `${text}\nconst a = 1;`)).toHaveLength(1);
  });

  test('silenced linters', () => {
    const off = '// oxlint-disable-next-line no-console';
    expect(findings(silencedLinters, `${off}\nrun();`)).toHaveLength(1);
    expect(findings(silencedLinters, `${off} -- a tool\nrun();\n${off}\nrun();`)).toEqual([]);
    expect(findings(silencedLinters, `// A tool.\n${off}\nrun();`)).toEqual([]);
    expect(
      findings(silencedLinters, `${off} -- a tool\nrun();\n${off.replace('console', 'empty')}\nrun();`),
    ).toHaveLength(1);
  });

  test('process words: plain comments and strings pass', () => {
    const text =
      "// Node #a, todo lists.\n// oxlint-disable-next-line no-console -- a tool\nconst a = 'TODO';";
    expect(findings(processWords, text)).toEqual([]);
  });

  test('machine paths, also in prose', () => {
    for (const path of ['work', 'home', 'root', 'tmp', 'Users'].map((name) => `/${name}/x`)) {
      expect(machinePaths('a.ts', `const a = '${path}';`)).toHaveLength(1);
      expect(proseFindings('a.md', `See ${path}.`)).toHaveLength(1);
    }
    expect(machinePaths('a.ts', "import '../tmp/homework.ts'; import './work/a.ts';")).toEqual([]);
    expect(proseFindings('a.md', 'Fixed #12')).toHaveLength(1);
    expect(proseFindings('a.md', '[Limits](#limits)')).toEqual([]);
  });

  test('circles', () => {
    const a = readSource('src/a/a.ts', "import { b } from '../b/b.ts';");
    const b = readSource('src/b/b.ts', "import { c } from '../b/c.ts';");
    const c = readSource('src/b/c.ts', "import { a } from '../a/a.ts';");
    const types = readSource('src/b/c.ts', "import type { a } from '../a/a.ts';");
    expect(fileCycles([a, b, c])).toEqual([
      'cyclic import: src/a/a.ts → src/b/b.ts → src/b/c.ts → src/a/a.ts',
    ]);
    expect(fileCycles([a, b, types])).toEqual([]);
    expect(folderCycles([a, b, types], [])).toEqual(['cyclic folders: a → b → a']);
    expect(folderCycles([a, b, types], ['b → a'])).toEqual([]);
  });

  test('dead files', () => {
    const index = readSource('src/index.ts', "export { a } from './a/a.ts';");
    const a = readSource('src/a/a.ts', 'export const a = 1;');
    const b = readSource('src/a/b.ts', 'export const b = 1;');
    const tested = readSource('test/b.test.ts', "import { b } from '../src/a/b.ts';");
    expect(deadFiles([index, a, b])).toEqual(['src/a/b.ts: nothing imports it']);
    expect(deadFiles([index, a, b, tested])).toEqual([]);
    expect([...reachable([index, a, b, tested], (path) => path === 'src/index.ts')]).not.toContain(
      'src/a/b.ts',
    );
  });
});
