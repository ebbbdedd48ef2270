/** Holds the sources to the architecture and the style of the house: who imports whom, what stays pure, how long, how told. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type SourceFile, readSource } from './support/source-file.ts';
import {
  type AllowedSkip,
  type Permission,
  SIZE_LIMITS,
  bannedSyntax,
  deadFiles,
  fileCycles,
  folderCycles,
  forbiddenImports,
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
  strayModules,
  strayNames,
  undocumentedExports,
} from './support/tidy-rules.ts';

/** Who may import whom: the table of the architecture, bottom-up. A line for a file adds to the line of its folder. */
const MAY_IMPORT: readonly Permission[] = [
  {
    from: 'lib',
    values: [],
    types: [],
    modules: [],
    why: 'The ground: it imports nothing.',
  },
  {
    from: 'raft',
    values: ['lib'],
    types: [],
    modules: [],
    why: 'The pure core knows no store, no network, no thread.',
  },
  {
    from: 'kv',
    values: ['lib'],
    types: ['storage/version-engine.ts'],
    modules: [],
    why: 'The pure state machine sees its engine as a port.',
  },
  {
    from: 'txn',
    values: ['lib'],
    types: ['kv'],
    modules: [],
    why: 'The pure coordinator speaks of commands.',
  },
  {
    from: 'storage',
    values: ['lib'],
    types: [],
    modules: [],
    why: 'Records are bytes to it; what they mean is for the node.',
  },
  {
    from: 'storage/fs.ts',
    values: [],
    types: [],
    modules: ['node:fs', 'node:path'],
    why: 'The one way of the storage to a real disk; everything else goes through its port.',
  },
  {
    from: 'storage/checksum.ts',
    values: [],
    types: [],
    modules: ['node:zlib'],
    why: 'Checksums of all that is stored, several times as fast as by the one of lib.',
  },
  {
    from: 'net',
    values: ['lib', 'raft/entry.ts', 'raft/membership.ts'],
    types: ['raft', 'kv', 'txn', 'storage/version-engine.ts'],
    modules: ['node:net', 'type:node:worker_threads'],
    why: 'It carries messages without acting on them. Entries are encoded once, so their codec comes as a value, and so does that of configurations. A status names the engine and what it tells of itself.',
  },
  {
    from: 'net/frame.ts',
    values: [],
    types: [],
    modules: ['msgpackr/pack'],
    why: 'The one file that knows the packing of frames, by the build without a native add-on.',
  },
  {
    from: 'node',
    values: ['lib', 'raft', 'kv', 'txn', 'storage', 'net'],
    types: [],
    modules: [],
    why: 'Wires everything below it, synchronously.',
  },
  {
    from: 'server',
    values: ['lib', 'net/protocol.ts'],
    types: ['raft/entry.ts'],
    modules: ['node:net'],
    why: 'A door sees the node as the port NodeService and never imports it. It names nodes as Raft does.',
  },
  {
    from: 'client',
    values: ['lib', 'net'],
    types: ['raft/entry.ts', 'raft/membership.ts', 'cluster/api.ts'],
    modules: ['node:net', 'type:node:worker_threads'],
    why: 'Clients implement the contract of cluster/api.ts and name nodes and changes of members as Raft does: types alone.',
  },
  {
    from: 'cluster',
    values: [
      'lib',
      'client/port-client.ts',
      'net/address.ts',
      'net/codec.ts',
      'net/faults.ts',
      'net/frame-port.ts',
      'raft/quorum.ts',
      'storage/data-directory.ts',
      'storage/files.ts',
      'storage/fs.ts',
      'storage/later-format.ts',
    ],
    types: [
      'node',
      'net',
      'raft/membership.ts',
      'sim',
      'storage/lsm/table-format.ts',
      'storage/version-engine.ts',
    ],
    modules: ['comlink', 'piscina', 'node:fs', 'node:net', 'node:os', 'node:path', 'node:worker_threads'],
    why: 'Supervises threads from outside: directories, ports, faults, the client of this process, members, the size of a quorum. Jobs for the pool that merges tables pass through it.',
  },
  {
    from: 'cluster/compaction-task.ts',
    values: ['storage/lsm/compaction.ts'],
    types: [],
    modules: [],
    why: 'The inside of a thread of the pool that merges tables.',
  },
  {
    from: 'cluster/node-thread.ts',
    values: ['node', 'server', 'storage', 'net'],
    types: [],
    modules: [],
    why: 'The composition root of a thread: the one place that builds a node out of its parts.',
  },
  {
    from: 'cluster/sim-thread.ts',
    values: ['sim/sim-node.ts'],
    types: [],
    modules: [],
    why: 'The inside of the thread of a simulated node.',
  },
  {
    from: 'sim',
    values: ['lib', 'raft', 'kv', 'storage', 'net', 'node'],
    types: [],
    modules: [],
    why: 'Runs nodes in virtual time, and the Raft core alone; it looks into both, and fakes the disk below them.',
  },
  {
    from: 'offline',
    values: ['lib', 'raft', 'kv', 'storage', 'node'],
    types: [],
    modules: [],
    why: 'Reads and makes data directories that no node runs on, for the command line.',
  },
  {
    from: 'lessons',
    values: ['lib', 'sim', 'cluster', 'client'],
    types: [],
    modules: [],
    why: 'Tells stories with clusters.',
  },
  {
    from: 'lessons/broken-duties.ts',
    values: ['node/duties.ts', 'storage/segment.ts'],
    types: ['net/protocol.ts', 'storage'],
    modules: [],
    why: 'Neglects one duty at a time, so it starts from the kept ones; the duty to the disk is a file system, and damage to a log is found as the log is read.',
  },
  {
    from: 'lessons/breaker.ts',
    values: ['node/duties.ts', 'raft/rules.ts'],
    types: [],
    modules: [],
    why: 'Finds what is broken by name, and the sound ones without a name.',
  },
  {
    from: 'lessons/broken-rules.ts',
    values: ['raft/rules.ts'],
    types: ['raft'],
    modules: [],
    why: 'Breaks one rule at a time, so it starts from the right ones.',
  },
  {
    from: 'tui',
    values: ['lib', 'lessons', 'sim', 'cluster'],
    types: [],
    modules: ['ink', 'react', 'node:fs'],
    why: 'Shows what the cluster tells of itself; of consensus and disks it knows nothing.',
  },
  {
    from: 'cli',
    values: ['lib', 'net', 'node', 'server', 'client', 'cluster', 'sim', 'lessons', 'tui', 'offline', 'kv'],
    types: [],
    modules: ['node:fs', 'node:module', 'node:os', 'node:path', 'node:tty', 'node:util'],
    why: 'The top: everything but consensus and storage themselves.',
  },
  {
    from: 'index.ts',
    values: ['cluster', 'client', 'lib/errors.ts'],
    types: [],
    modules: [],
    why: 'The public names, and no others.',
  },
  {
    from: 'workers',
    values: ['cluster/node-thread.ts'],
    types: ['cluster/control.ts'],
    modules: ['node:worker_threads'],
    why: 'Entries of threads, without logic.',
  },
  {
    from: 'workers/seeds.ts',
    values: ['lessons/simulate.ts'],
    types: ['sim'],
    modules: [],
    why: 'A thread of the pool runs batches of simulated seeds.',
  },
  {
    from: 'workers/compaction.ts',
    values: ['cluster/compaction-task.ts'],
    types: ['cluster/compaction-state.ts', 'storage/lsm/table-format.ts'],
    modules: [],
    why: 'A thread of the pool merges tables of any node.',
  },
  {
    from: 'workers/sim-node.ts',
    values: ['cluster/sim-thread.ts', 'lessons/breaker.ts'],
    types: [],
    modules: [],
    why: 'A lesson breaks a rule on threads too: the thread looks it up by its name.',
  },
  {
    from: 'bin',
    values: ['cli/main.ts'],
    types: [],
    modules: [],
    why: 'Checks the version and starts the command line.',
  },
];

/** Circles between folders that types alone close. */
const TYPE_CIRCLES: readonly string[] = [
  // cluster/api.ts is the contract that client/port-client.ts implements and that cluster/cluster.ts hands out.
  'client → cluster',
];

/** Where a module may be imported as a value, in whatever folder the table above allows it. */
const HOMES: ReadonlyMap<string, readonly string[]> = new Map([
  ['node:worker_threads', ['src/cluster', 'workers']],
  ['comlink', ['src/cluster']],
  ['msgpackr', []],
  ['msgpackr/pack', ['src/net/frame.ts']],
  ['ink', ['src/tui']],
  ['react', ['src/tui']],
]);

const PURE: readonly string[] = ['lib', 'raft', 'kv', 'txn'];
/** No clock, chance or promise either: the simulator depends on it. */
const SYNCHRONOUS: readonly string[] = ['node', 'offline', 'storage'];
/** Asks the process for its platform: disks differ. */
const REAL_DISK = 'src/storage/fs.ts';

const ALLOWED_SKIPS: readonly AllowedSkip[] = [
  {
    path: 'test/storage/file-system.test.ts',
    what: 'describe.skipIf',
    why: 'Windows has neither permission bits nor named pipes.',
  },
  {
    path: 'test/storage/file-system.test.ts',
    what: 'test.runIf',
    why: 'Only Linux has the /proc that makes nothing.',
  },
];

/** The top of the repository. Dot-files are those of git, npm and the tools of the gate. */
const TOP: ReadonlySet<string> = new Set([
  'src',
  'workers',
  'bin',
  'test',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  // Vitest looks for its configuration here and nowhere else.
  'vitest.config.ts',
  '.ci',
  '.github',
  '.gitattributes',
  '.gitignore',
  '.npmrc',
  '.oxfmtrc.json',
  '.oxlintrc.json',
]);

const WORKER_LINES_MAX = 100;
const FILE_LINES_WISHED = 400;

const root = new URL('..', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const files: readonly SourceFile[] = ['src', 'workers', 'bin', 'test']
  .flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' }).map(
      (name) => `${folder}/${name}`,
    ),
  )
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => /\.tsx?$/.test(path))
  .toSorted()
  .map((path) => readSource(path, read(path)));
const product = files.filter((file) => !file.path.startsWith('test/'));

function inFolders(folders: readonly string[]): readonly SourceFile[] {
  return files.filter((file) => folders.some((folder) => file.path.startsWith(`src/${folder}/`)));
}

/** What is committed, or what is there where there is no git. */
function topNames(): readonly string[] {
  if (!existsSync(new URL('.git', root))) {
    const ignored = new Set(['node_modules', 'dist', '.git']);
    return readdirSync(root).filter((name) => !ignored.has(name));
  }
  const list = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' });
  return [...new Set(list.split('\0').map((path) => path.split('/')[0] ?? ''))].filter((name) => name !== '');
}

describe('the sources', () => {
  test('are found', () => {
    expect(product.length).toBeGreaterThan(80);
    expect(inFolders(PURE).length).toBeGreaterThan(20);
  });

  test('import only what the table allows', () => {
    expect(files.flatMap((file) => forbiddenImports(file, MAY_IMPORT))).toEqual([]);
  });

  test('the table names only places that exist or are planned', () => {
    const planned = new Set(['txn', 'sim']);
    const named = MAY_IMPORT.flatMap(({ from, values, types }) => [from, ...values, ...types]);
    const missing = named.filter(
      (name) =>
        !planned.has(name) && !existsSync(new URL(`src/${name}`, root)) && !existsSync(new URL(name, root)),
    );
    expect(missing).toEqual([]);
  });

  test('keep threads, comlink, msgpackr and the terminal library where they belong', () => {
    expect(files.flatMap((file) => strayModules(file, HOMES))).toEqual([]);
  });

  test('have no circles', () => {
    const src = files.filter((file) => file.path.startsWith('src/'));
    expect(fileCycles(src)).toEqual([]);
    expect(folderCycles(src, TYPE_CIRCLES)).toEqual([]);
  });

  test('stay functions of their inputs in the pure folders', () => {
    const strict = inFolders([...PURE, ...SYNCHRONOUS]).filter((file) => file.path !== REAL_DISK);
    expect(strict.flatMap(impurities)).toEqual([]);
  });

  test('are of readable size', () => {
    const long = files.filter((file) => file.lineCount > FILE_LINES_WISHED);
    const list = long.map((file) => `  ${file.lineCount}  ${file.path}\n`).join('');
    process.stdout.write(`Files over ${FILE_LINES_WISHED} lines, ${SIZE_LIMITS.fileLines} at most:\n${list}`);
    const workers = files.filter((file) => file.path.startsWith('workers/'));
    expect(files.flatMap((file) => oversizedFiles(file, SIZE_LIMITS.fileLines))).toEqual([]);
    expect(workers.flatMap((file) => oversizedFiles(file, WORKER_LINES_MAX))).toEqual([]);
    expect(product.flatMap((file) => oversizedFunctions(file, SIZE_LIMITS.functionLines))).toEqual([]);
  });

  test('say what they are', () => {
    const told = files.filter((file) => !/\.test\.tsx?$/.test(file.path));
    expect(told.flatMap(missingOpening)).toEqual([]);
    expect(product.flatMap(undocumentedExports)).toEqual([]);
  });

  test('use neither any, nor !, enum or namespace', () => {
    expect(files.flatMap(bannedSyntax)).toEqual([]);
  });

  test('speak of the thing and not of its making', () => {
    expect(files.flatMap(processWords)).toEqual([]);
    expect(files.flatMap(silencedLinters)).toEqual([]);
    expect(files.flatMap((file) => machinePaths(file.path, file.text))).toEqual([]);
    const pages = ['README.md', 'CHANGELOG.md', 'src/ARCHITECTURE.md'];
    expect(pages.flatMap((path) => proseFindings(path, read(path)))).toEqual([]);
  });

  test('are all in use', () => {
    expect(deadFiles(files)).toEqual([]);
  });

  test('reach no broken rule from what runs a store', () => {
    expect([...reachable(product, runsStore)].filter((path) => path.includes('broken'))).toEqual([]);
  });
});

describe('the tests', () => {
  test('are neither skipped, focused nor tried again', () => {
    const config = readSource('vitest.config.ts', read('vitest.config.ts'));
    expect([...files, config].flatMap((file) => skippedTests(file, ALLOWED_SKIPS))).toEqual([]);
  });
});

describe('the repository', () => {
  test('has at its top what belongs there', () => {
    expect(strayNames(topNames(), TOP)).toEqual([]);
  });
});

/** The library, and the thread of a node. The command line reaches further: it attacks simulated clusters, broken ones too. */
function runsStore(path: string): boolean {
  return /^(?:src\/index\.ts|workers\/node\.ts)/.test(path);
}

function tableRule(file: SourceFile): readonly string[] {
  return forbiddenImports(file, MAY_IMPORT);
}

function homeRule(file: SourceFile): readonly string[] {
  return strayModules(file, HOMES);
}

describe('the data above fail what breaks them', () => {
  test.each([
    ['src/raft/a.ts', "import { x } from '../node/node.ts';"],
    ['src/raft/a.ts', "import type { X } from '../storage/version-engine.ts';"],
    ['src/raft/a.ts', "import { readFileSync } from 'node:fs';"],
    ['src/raft/a.ts', "const x = await import('../node/node.ts');"],
    ['src/raft/a.ts', "type X = import('../node/node.ts').Node;"],
    ['src/raft/a.ts', "import '../node/node.ts';"],
    ['src/kv/a.ts', "import { x } from '../storage/version-engine.ts';"],
    ['src/kv/a.ts', "import { type A, x } from '../storage/version-engine.ts';"],
    ['src/kv/a.ts', "import type { X } from '../storage/wal.ts';"],
    ['src/storage/a.ts', "import { openSync } from 'node:fs';"],
    ['src/net/a.ts', "import { Raft } from '../raft/raft.ts';"],
    ['src/net/a.ts', "export { Raft } from '../raft/raft.ts';"],
    ['src/net/a.ts', "export * from '../raft/raft.ts';"],
    ['src/net/a.ts', "import { Packr } from 'msgpackr/pack';"],
    ['src/net/a.ts', "import { Worker } from 'node:worker_threads';"],
    ['src/server/a.ts', "import type { Node } from '../node/node.ts';"],
    ['src/client/a.ts', "import { Cluster } from '../cluster/cluster.ts';"],
    ['src/cluster/a.ts', "import { Node } from '../node/node.ts';"],
    ['src/cluster/node-thread.ts', "import { x } from '../tui/app.tsx';"],
    ['src/lessons/a.ts', "import { RULES } from '../raft/rules.ts';"],
    ['src/tui/a.ts', "import type { X } from '../raft/messages.ts';"],
    ['src/cli/a.ts', "import { Wal } from '../storage/wal.ts';"],
    ['src/index.ts', "export { Node } from './node/node.ts';"],
    ['workers/a.ts', "import { Node } from '../src/node/node.ts';"],
    ['bin/a.ts', "import { Cluster } from '../src/index.ts';"],
    ['src/other/a.ts', "import { assert } from '../lib/assert.ts';"],
  ])('import table: %s: %s', (path, text) => {
    expect(tableRule(readSource(path, text))).toHaveLength(1);
  });

  test.each([
    ['src/raft/a.ts', "import { assert } from '../lib/assert.ts'; import { b } from './b.ts';"],
    ['src/kv/a.ts', "import { type Engine, type Other } from '../storage/version-engine.ts';"],
    ['src/cluster/node-thread.ts', "import { Node } from '../node/node.ts';"],
    ['src/cli/commands/a.ts', "const x = await import('../../tui/launch.ts'); import { y } from '../z.ts';"],
    ['workers/a.ts', "import type { A } from '../src/cluster/control.ts';"],
    ['bin/a.ts', "const { main } = await import('../src/cli/main.ts');"],
    ['test/a.ts', "import { Wal } from '../src/storage/wal.ts';"],
  ])('import table, allowed: %s: %s', (path, text) => {
    expect(tableRule(readSource(path, text))).toEqual([]);
  });

  test('modules outside their homes', () => {
    expect(
      homeRule(readSource('src/sim/a.ts', "import { Worker } from 'node:worker_threads';")),
    ).toHaveLength(1);
    expect(homeRule(readSource('src/net/frame.ts', "import { Packr } from 'msgpackr';"))).toHaveLength(1);
    expect(homeRule(readSource('src/net/frame.ts', "import { Packr } from 'msgpackr/pack';"))).toEqual([]);
    expect(
      homeRule(readSource('src/net/a.ts', "import type { MessagePort } from 'node:worker_threads';")),
    ).toEqual([]);
  });

  test('names at the top', () => {
    expect(strayNames(['src', 'notes.md'], TOP)).toEqual(['notes.md: does not belong at the top']);
  });
});
