/** The tree of tables of a data directory, read without changing it: manifest, tables, checkpoint, and what nothing names. */
import { configOfSnapshot } from '../node/checkpoints.ts';
import type { Config } from '../raft/membership.ts';
import { TEMPORARY_SUFFIX, fileBytes } from '../storage/files.ts';
import type { FileSystem } from '../storage/fs.ts';
import { findArrivals } from '../storage/lsm/arrival-files.ts';
import { BlockCache } from '../storage/lsm/block-cache.ts';
import { isManifest, manifestName, numberedFile, statePath } from '../storage/lsm/file-names.ts';
import { type PlacedTable, allTables, bytesOf, keysOf } from '../storage/lsm/levels.ts';
import { CURRENT, findManifest } from '../storage/lsm/manifest.ts';
import { readStateFile } from '../storage/lsm/state-file.ts';
import { type TableMeta, tablePath } from '../storage/lsm/table-format.ts';
import { Table } from '../storage/lsm/table.ts';
import type { TreeState } from '../storage/lsm/tree-state.ts';
import { OverlayFileSystem } from '../storage/overlay.ts';
import type { Findings } from './findings.ts';
import { inspectSnapshot } from './inspect-snapshots.ts';
import type { LevelReport, Progress, SnapshotReport, TreeReport } from './report.ts';

/** The tree, and what its checkpoint says of the members. */
export interface TreeContents {
  readonly report: TreeReport;
  readonly config: Config | undefined;
  readonly leftovers: readonly string[];
}

interface Options {
  readonly verify: boolean;
  readonly findings: Findings;
}

/** Reads the tree in `directory`/lsm; undefined when none was begun there, or its manifest cannot be read. */
export function* inspectTree(
  fs: FileSystem,
  directory: string,
  options: Options,
): Generator<Progress, TreeContents | undefined> {
  const { findings } = options;
  const root = `${directory}/lsm`;
  // A manifest that a first start left behind is removed on the way.
  const overlay = new OverlayFileSystem(fs);
  const found = findings.attempt('lsm', () => findManifest({ fs: overlay, directory: root }));
  if (found === undefined) return undefined;
  const { state } = found;
  for (const { meta } of allTables(state.levels)) {
    yield* inspectTableFile(fs, root, meta, options);
  }
  const { checkpoint, config } = yield* inspectCheckpoint(fs, root, state, options);
  const manifest = manifestName(found.number);
  return {
    report: { manifest, horizon: state.horizon, checkpoint, levels: levelsOf(state) },
    config,
    leftovers: leftoversOf(fs, root, { state, manifest, findings }),
  };
}

/** The file must be there and as large as it was; with `verify` all of it is read. */
function* inspectTableFile(
  fs: FileSystem,
  root: string,
  meta: TableMeta,
  { verify, findings }: Options,
): Generator<Progress, void> {
  const path = tablePath(root, meta.number);
  const name = `lsm${path.slice(root.length)}`;
  const isThere = findings.attempt(name, () => fs.exists(path));
  if (isThere === undefined) return;
  if (!isThere) {
    findings.add(name, 'damaged', 'it is missing');
    return;
  }
  if (verify) {
    findings.attempt(name, () => {
      const table = new Table({ fs, directory: root, meta, cache: new BlockCache(0) });
      try {
        table.verify();
      } finally {
        table.close();
      }
    });
    yield { file: name, bytes: meta.bytes };
    return;
  }
  const size = findings.attempt(name, () => fileBytes(fs, path));
  if (size !== undefined) checkSize(findings, name, size, meta.bytes);
}

function checkSize(findings: Findings, file: string, size: number, expected: number): void {
  if (size === expected) return;
  const why = `it has ${size} bytes, expected ${expected}`;
  findings.add(file, 'damaged', `offset ${Math.min(size, expected)}: ${why}`);
}

function* inspectCheckpoint(
  fs: FileSystem,
  root: string,
  { checkpoint }: TreeState,
  { verify, findings }: Options,
): Generator<
  Progress,
  { readonly checkpoint: SnapshotReport | undefined; readonly config: Config | undefined }
> {
  if (checkpoint === undefined) return { checkpoint: undefined, config: undefined };
  const path = statePath(root, checkpoint.number);
  const name = `lsm${path.slice(root.length)}`;
  const found = yield* inspectSnapshot(fs, path, { name, verify: false, findings });
  if (found === undefined) return { checkpoint: undefined, config: undefined };
  const config = findings.attempt(name, () => configOfSnapshot(found.meta));
  checkSize(findings, name, found.report.bytes, checkpoint.bytes);
  if (verify) {
    findings.attempt(name, () => readStateFile(fs, root, checkpoint));
    yield { file: name, bytes: found.report.bytes };
  }
  return { checkpoint: { ...found.report, verified: verify }, config };
}

function levelsOf({ levels }: TreeState): readonly LevelReport[] {
  return levels.flatMap((tables, level) => (tables.length === 0 ? [] : [levelOf(level, tables)]));
}

function levelOf(level: number, tables: readonly PlacedTable[]): LevelReport {
  const metas = tables.map(({ meta }) => meta);
  const { first, last } = keysOf(tables);
  return {
    level,
    tables: tables.length,
    bytes: bytesOf(tables),
    versions: metas.reduce((sum, { versions }) => sum + versions, 0),
    firstKey: first,
    lastKey: last,
    revisionMin: Math.min(...metas.map(({ revisionMin }) => revisionMin)),
    revisionMax: Math.max(...metas.map(({ revisionMax }) => revisionMax)),
  };
}

/** What the next start removes, or goes on with: files of a checkpoint that is arriving, and those that nothing names. */
function leftoversOf(
  fs: FileSystem,
  root: string,
  tree: { readonly state: TreeState; readonly manifest: string; readonly findings: Findings },
): readonly string[] {
  const { state, manifest, findings } = tree;
  const live = new Set([CURRENT, manifest]);
  for (const { meta } of allTables(state.levels)) live.add(tablePath('', meta.number).slice(1));
  if (state.checkpoint !== undefined) live.add(statePath('', state.checkpoint.number).slice(1));
  const leftovers: string[] = [];
  findings.attempt('lsm', () => {
    const arrivals = new Set(findArrivals(fs, root, state).map(({ name }) => name));
    for (const name of fs.list(root)) {
      if (name.startsWith('.') || live.has(name)) continue;
      const isOurs =
        arrivals.has(name) ||
        numberedFile(name) !== undefined ||
        isManifest(name) ||
        name.startsWith('incoming-') ||
        name.endsWith(TEMPORARY_SUFFIX);
      if (isOurs) leftovers.push(`lsm/${name}`);
      else findings.add(`lsm/${name}`, 'unreadable', 'it does not belong there; move it away');
    }
  });
  return leftovers;
}
