/** What is published: its contents, its dependencies, and that it installs, imports, type-checks and runs elsewhere. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

interface LockedPackage {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

const manifest: Manifest = JSON.parse(readText('package.json'));
const lock: { readonly packages: Readonly<Record<string, LockedPackage>> } = JSON.parse(
  readText('package-lock.json'),
);
const locked = Object.entries(lock.packages).filter(([path]) => path !== '');

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

/** Packages of the production tree with an install script, and why each may have one. */
const INSTALL_SCRIPTS: ReadonlyMap<string, string> = new Map([
  [
    'node_modules/msgpackr-extract',
    'Optional, and never loaded: net/frame.ts imports "msgpackr/pack". Picks a prebuilt add-on that npm has installed, or compiles.',
  ],
]);

const CONTENTS =
  /^(?:package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/(?:bin|src|workers)\/[\w/-]+\.(?:js|d\.ts))$/;

/** A pack of the package as it is built, without running its scripts: other tests use dist/ at this moment. */
function pack(folder: string): { readonly file: string; readonly names: readonly string[] } {
  const words = ['pack', '--ignore-scripts', '--json', '--loglevel=error', '--pack-destination', folder];
  const output = run('npm', words, ROOT);
  const list: readonly Packed[] = JSON.parse(output);
  const [packed] = list;
  if (packed === undefined) throw new Error(`npm pack printed ${output}`);
  return { file: join(folder, packed.filename), names: packed.files.map((file) => file.path) };
}

function run(command: string, words: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, words, {
    cwd,
    encoding: 'utf8',
    timeout: 60_000,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_ENV: '', NODE_OPTIONS: '' },
  });
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stdout}${stderr}`, { cause: error });
  return stdout;
}

/** A program that uses the public types; `value` is what it sets a key to. */
function typedConsumer(value: string): string {
  return `
      import { Cluster, OxideError, type ClusterClient, type ClusterOptions, connect } from 'oxide-kv';
      const options: ClusterOptions = { nodes: 3, doors: true };
      export async function run(): Promise<string | undefined> {
        const cluster = await Cluster.start(options);
        const client: ClusterClient = cluster.client({ timeoutMs: 1000 });
        const index: number = await client.set('a', ${value});
        const other = await connect(['127.0.0.1:9001']);
        await other.close();
        try { return await client.getText('a'); } catch (error) {
          if (error instanceof OxideError && error.code === 'unknown') return String(index);
          throw error;
        } finally {
          await cluster.stop();
        }
      }
    `;
}

describe('package.json', () => {
  test('has few direct dependencies, all at exact versions', () => {
    const versions = { ...manifest.dependencies, ...manifest.devDependencies };
    expect(Object.keys(manifest.dependencies).length).toBeLessThanOrEqual(10);
    expect(Object.entries(versions).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  test('brings no install script into production that is not explained', () => {
    const scripts = locked.filter(([, one]) => one.dev !== true && one.hasInstallScript === true);
    expect(scripts.map(([path]) => path)).toEqual([...INSTALL_SCRIPTS.keys()]);
    expect(scripts.filter(([, one]) => one.optional !== true)).toEqual([]);
  });

  test('package-lock.json names the optional packages of every platform, so that npm ci works on each', () => {
    const paths = new Set(locked.map(([path]) => path));
    const missing = locked.flatMap(([path, one]) =>
      Object.keys(one.optionalDependencies ?? {}).filter(
        (name) => !paths.has(`node_modules/${name}`) && !paths.has(`${path}/node_modules/${name}`),
      ),
    );
    expect(missing).toEqual([]);
  });
});

describe('the published package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'oxide-kv-package-'));
  const home = join(folder, 'node_modules', 'oxide-kv');
  let names: readonly string[] = [];

  // Unpacked beside links to what npm ci has installed here: needs no network and no npm cache.
  beforeAll(() => {
    const packed = pack(folder);
    names = packed.names;
    mkdirSync(home, { recursive: true });
    run('tar', ['-xzf', packed.file, '--strip-components=1', '-C', home], folder);
    for (const [path, one] of locked) {
      if (one.dev === true || one.optional === true || path.lastIndexOf('node_modules/') > 0) continue;
      const target = join(folder, path);
      mkdirSync(join(target, '..'), { recursive: true });
      symlinkSync(join(ROOT, path), target, 'junction');
    }
    mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
    const types = join('node_modules', '@types', 'node');
    symlinkSync(join(ROOT, types), join(folder, types), 'junction');
    writeFileSync(join(folder, 'package.json'), '{ "name": "consumer", "type": "module" }');
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('holds dist/ and its papers, and no tests, sources or maps', () => {
    expect(names.filter((name) => !CONTENTS.test(name))).toEqual([]);
    for (const name of [
      'dist/bin/oxide-kv.js',
      'dist/src/index.js',
      'dist/src/index.d.ts',
      'dist/workers/node.js',
    ])
      expect(names).toContain(name);
  });

  test('prints its version', () => {
    expect(run(process.execPath, [join(home, 'dist/bin/oxide-kv.js'), '--version'], folder).trim()).toBe(
      manifest.version,
    );
  });

  test('starts a cluster that keeps what it is told, without a native add-on', () => {
    const program = `
      import { Cluster } from 'oxide-kv';
      const cluster = await Cluster.start({ nodes: 1 });
      await cluster.leader();
      const client = cluster.client();
      await client.set('greeting', 'hello');
      const value = await client.getText('greeting');
      const addons = process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node'));
      await cluster.stop();
      console.log(JSON.stringify({ value, addons }));
    `;
    writeFileSync(join(folder, 'consumer.mjs'), program);
    const output = run(process.execPath, ['consumer.mjs'], folder);
    expect(JSON.parse(output)).toEqual({ value: 'hello', addons: [] });
  });

  test('has types that a strict project compiles, and that refuse what is wrong', () => {
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const words = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023'];
    const check = (file: string): string =>
      run(process.execPath, [tsc, ...words, '--types', 'node', file], folder);
    writeFileSync(join(folder, 'right.mts'), typedConsumer("new TextEncoder().encode('1')"));
    writeFileSync(join(folder, 'wrong.mts'), typedConsumer('1'));
    check('right.mts');
    expect(() => check('wrong.mts')).toThrow(/wrong\.mts.*TS2345/);
  });
});
