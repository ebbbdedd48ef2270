/**
 * What is in a node's data directory: read file by file, without a lock and without changing a byte, also while a node
 * runs on it. Then only what was durable before is told for certain.
 */
import type { Config } from '../raft/membership.ts';
import { decodeConfig, describeConfig } from '../raft/membership.ts';
import { lockHolders, readIdentity } from '../storage/data-directory.ts';
import { fileBytes } from '../storage/files.ts';
import type { FileSystem } from '../storage/fs.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { readSealedJson } from '../storage/sealed-json.ts';
import { notedDamage } from '../node/state-loss.ts';
import { Findings } from './findings.ts';
import { type LogContents, inspectLog } from './inspect-log.ts';
import { type SnapshotContents, inspectSnapshots } from './inspect-snapshots.ts';
import { type TreeContents, inspectTree } from './inspect-tree.ts';
import type { MembersReport, NodeReport, Progress } from './report.ts';

export interface InspectOptions {
  /** Default: the disks of this machine. Only read. */
  readonly fs?: FileSystem;
  readonly path: string;
  /** Read every byte. Otherwise the log and the small files are checked, and of the rest what it says of itself. */
  readonly verify: boolean;
}

/** The data directories below `path`: itself, or those of the nodes of a cluster in one process. */
export function nodeDirectories(path: string, fs: FileSystem = new NodeFileSystem()): readonly string[] {
  if (fs.exists(`${path}/node.json`)) return [path];
  if (!fs.exists(`${path}/cluster.json`)) return [];
  const ids = fs.list(path).flatMap((name) => {
    const id = /^node-([1-9]\d{0,5})$/.exec(name)?.[1];
    return id === undefined ? [] : [Number(id)];
  });
  return ids.toSorted((a, b) => a - b).map((id) => `${path}/node-${id}`);
}

/** The bytes that {@link inspect} will report as done, about; 0 for a directory that cannot be listed. */
export function bytesToRead(options: InspectOptions): number {
  const { fs = new NodeFileSystem(), path, verify } = options;
  const folders = verify ? ['wal', 'snapshots', 'lsm'] : ['wal'];
  return folders.reduce((sum, folder) => sum + sizesIn(fs, `${path}/${folder}`).bytes, 0);
}

/** Reads a directory that has a `node.json`. Never throws for what it finds there: that is in the report. */
export function* inspect(options: InspectOptions): Generator<Progress, NodeReport> {
  const { fs = new NodeFileSystem(), path, verify } = options;
  const findings = new Findings();
  const nodeFile = findings.attempt('node.json', () => readSealedJson(fs, `${path}/node.json`));
  const identity = findings.attempt('node.json', () =>
    nodeFile === undefined ? undefined : readIdentity(fs, path),
  );
  const peers = findings.attempt('peers.json', () =>
    fs.exists(`${path}/peers.json`) ? readSealedJson(fs, `${path}/peers.json`) : undefined,
  );
  const holders = findings.attempt('.', () => lockHolders(fs, path)) ?? [];
  const damage = findings.attempt('damage.json', () => notedDamage(fs, path));
  if (damage !== undefined)
    findings.add('damage.json', 'damaged', `the next start sets the data aside: ${damage}`);
  const log = yield* inspectLog(fs, path, findings);
  const hasTree = fs.exists(`${path}/lsm`);
  const tree = hasTree ? yield* inspectTree(fs, path, { verify, findings }) : undefined;
  const snapshots = yield* inspectSnapshots(fs, path, { verify, findings });
  checkFit(log, newestIndex(tree, snapshots), findings);
  const sizes = ['.', 'wal', 'snapshots', 'lsm'].map((name) => sizesIn(fs, `${path}/${name}`));
  const format = nodeFile?.['format'];
  return {
    path,
    format: typeof format === 'number' ? format : undefined,
    identity,
    engine: identity?.engine,
    lockHolders: holders,
    founders: idsOf(peers?.['founders']),
    members: membersOf(log, newestConfig(tree, snapshots)),
    log: log.report,
    snapshots: snapshots.reports,
    tree: tree?.report,
    leftovers: [...(tree?.leftovers ?? []), ...snapshots.leftovers],
    files: sizes.reduce((sum, { files }) => sum + files, 0),
    bytes: sizes.reduce((sum, { bytes }) => sum + bytes, 0),
    verified: verify,
    findings: findings.list,
  };
}

function newestIndex(tree: TreeContents | undefined, snapshots: SnapshotContents): number {
  return tree?.report.checkpoint?.index ?? snapshots.reports.at(-1)?.index ?? 0;
}

function newestConfig(
  tree: TreeContents | undefined,
  snapshots: SnapshotContents,
): { readonly index: number; readonly config: Config } | undefined {
  const config = tree?.config ?? snapshots.config;
  return config === undefined ? undefined : { index: newestIndex(tree, snapshots), config };
}

/** Behind the checkpoint the log must go on, as a start demands. */
function checkFit(log: LogContents, checkpointIndex: number, findings: Findings): void {
  const { base, hard } = log.replay;
  if (base.index <= checkpointIndex || hard.term === 0 || findings.list.length > 0) return;
  const why = `the log begins behind ${base.index}, but the newest snapshot ends at ${checkpointIndex}`;
  findings.add('wal', 'damaged', why);
}

/** The last configuration in the log, else that of the checkpoint. */
function membersOf(
  log: LogContents,
  checkpoint: { readonly index: number; readonly config: Config } | undefined,
): MembersReport | undefined {
  const entry = log.replay.entries.findLast(({ kind }) => kind === 'config');
  const config = entry === undefined ? undefined : decodeConfig(entry.payload);
  if (entry !== undefined && config !== undefined && entry.index > (checkpoint?.index ?? 0))
    return { index: entry.index, text: describeConfig(config) };
  return checkpoint === undefined
    ? undefined
    : { index: checkpoint.index, text: describeConfig(checkpoint.config) };
}

function idsOf(value: unknown): readonly number[] | undefined {
  return Array.isArray(value) ? value.filter((id: unknown) => typeof id === 'number') : undefined;
}

/** What cannot be opened is told where it is read. */
function sizesIn(fs: FileSystem, directory: string): { readonly files: number; readonly bytes: number } {
  const unread = new Findings();
  let files = 0;
  let bytes = 0;
  if (!fs.exists(directory)) return { files, bytes };
  for (const name of unread.attempt(directory, () => fs.list(directory)) ?? []) {
    const size = unread.attempt(name, () => fileBytes(fs, `${directory}/${name}`));
    if (size === undefined) continue;
    files += 1;
    bytes += size;
  }
  return { files, bytes };
}
