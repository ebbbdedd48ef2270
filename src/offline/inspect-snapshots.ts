/** The snapshot files of a data directory, read without changing it. */
import { textOf } from '../lib/bytes.ts';
import { configOfSnapshot } from '../node/checkpoints.ts';
import type { Config } from '../raft/membership.ts';
import { TEMPORARY_SUFFIX } from '../storage/files.ts';
import type { File, FileSystem } from '../storage/fs.ts';
import { incomingIndexOf } from '../storage/incoming-snapshot.ts';
import { SnapshotFile, type SnapshotFields } from '../storage/snapshot-file.ts';
import { readVersions } from '../storage/version-lines.ts';
import type { Findings } from './findings.ts';
import type { Progress, SnapshotReport } from './report.ts';

/** The first line of a snapshot is not longer, nor is the last. */
const HEADER_BYTES_MAX = 65_536;
const END_BYTES_MAX = 256;
const NEWLINE = 0x0a;
/** About as much as {@link SnapshotFile.verify} reads in a step. */
const STEP_BYTES = 1_048_576;

/** The snapshots, and what the newest one says of the members. */
export interface SnapshotContents {
  readonly reports: readonly SnapshotReport[];
  readonly config: Config | undefined;
  readonly leftovers: readonly string[];
}

/** Reads what snapshots say of themselves, from the oldest; with `verify` all of them. */
export function* inspectSnapshots(
  fs: FileSystem,
  directory: string,
  options: { readonly verify: boolean; readonly findings: Findings },
): Generator<Progress, SnapshotContents> {
  const { verify, findings } = options;
  const reports: SnapshotReport[] = [];
  const leftovers: string[] = [];
  let config: Config | undefined;
  for (const name of namesIn(fs, `${directory}/snapshots`, findings)) {
    const file = `snapshots/${name}`;
    const index = Number(/^snapshot-(\d{20})\.jsonl$/.exec(name)?.[1]);
    if (name.startsWith('.')) continue;
    if (name.endsWith(TEMPORARY_SUFFIX) || incomingIndexOf(name) !== undefined) {
      leftovers.push(file);
    } else if (!Number.isSafeInteger(index)) {
      findings.add(file, 'unreadable', 'it does not belong there; move it away');
    } else {
      const path = `${directory}/${file}`;
      const found = yield* inspectSnapshot(fs, path, { name: file, index, verify, findings });
      if (found === undefined) continue;
      reports.push(found.report);
      config = findings.attempt(file, () => configOfSnapshot(found.meta)) ?? config;
    }
  }
  return { reports, config, leftovers };
}

/** A start that was cut off had no time to make the directory. */
function namesIn(fs: FileSystem, directory: string, findings: Findings): readonly string[] {
  if (!fs.exists(directory)) return [];
  return findings.attempt('snapshots', () => fs.list(directory)) ?? [];
}

/**
 * One file of snapshot-file.ts.
 *
 * @param options.index what its name says; undefined when that says nothing
 * @returns undefined when it cannot be read at all, which is among the findings then
 */
export function* inspectSnapshot(
  fs: FileSystem,
  path: string,
  options: {
    readonly name: string;
    readonly index?: number;
    readonly verify: boolean;
    readonly findings: Findings;
  },
): Generator<Progress, { readonly report: SnapshotReport; readonly meta: SnapshotFields } | undefined> {
  const { name, index, verify, findings } = options;
  const file = findings.attempt(name, () => fs.open(path, 'read'));
  if (file === undefined) return undefined;
  try {
    const rows = verify ? yield* verifySnapshot(file, { name, index, findings }) : undefined;
    return findings.attempt(name, () => peek(file, name, { verify, rows, findings }));
  } finally {
    file.close();
  }
}

/** Reads all of it. @returns how many versions or rows it holds; undefined when it is damaged */
function* verifySnapshot(
  file: File,
  options: { readonly name: string; readonly index: number | undefined; readonly findings: Findings },
): Generator<Progress, number | undefined> {
  const { name, index, findings } = options;
  const expected = index === undefined ? {} : { index };
  const snapshot = new SnapshotFile(file, { action: 'Cannot read it', expected });
  let left = snapshot.totalBytes;
  for (;;) {
    const verdict = findings.attempt(name, () => snapshot.verify());
    const step = Math.min(left, STEP_BYTES);
    left -= step;
    if (step > 0) yield { file: name, bytes: step };
    if (verdict?.kind === 'more') continue;
    if (verdict?.kind === 'damaged') findings.add(name, 'damaged', verdict.why);
    if (verdict?.kind === 'newer') findings.add(name, 'unreadable', verdict.why);
    return verdict?.kind === 'whole' ? findings.attempt(name, () => countVersions(snapshot)) : undefined;
  }
}

/** Throws CorruptionError for a line that is not a version where one should be. */
function countVersions(snapshot: SnapshotFile): number {
  const { layout, meta } = snapshot;
  const versions = readVersions(
    snapshot.lines(),
    layout.format === 1
      ? { kind: 'rows', index: meta.index }
      : { kind: 'versions', stateLines: layout.stateLines },
    [],
  );
  let count = 0;
  for (const _ of versions) count += 1;
  return count;
}

/** The first and the last line, without what is between. */
function peek(
  file: File,
  name: string,
  how: { readonly verify: boolean; readonly rows: number | undefined; readonly findings: Findings },
): { readonly report: SnapshotReport; readonly meta: SnapshotFields } | undefined {
  const bytes = file.size();
  const head = fieldsOf(file.read(0, Math.min(bytes, HEADER_BYTES_MAX)), 'first');
  const tailBytes = Math.min(bytes, END_BYTES_MAX);
  const tail = fieldsOf(file.read(bytes - tailBytes, tailBytes), 'last');
  const { format = 1, index, term, stateLines } = head ?? {};
  const { end, lines } = tail ?? {};
  if (!isCount(format) || !isCount(index) || !isCount(term) || end !== true || !isCount(lines)) {
    // Verifying it has told why.
    if (!how.verify)
      how.findings.add(name, 'damaged', 'its first or its last line is not that of a snapshot');
    return undefined;
  }
  const rows = format === 2 && isCount(stateLines) ? lines - stateLines : how.rows;
  return {
    report: { name, bytes, format, index, term, rows, verified: how.verify },
    meta: { ...head, index, term },
  };
}

function fieldsOf(bytes: Uint8Array, which: 'first' | 'last'): Readonly<Record<string, unknown>> | undefined {
  if (which === 'last' && bytes.at(-1) !== NEWLINE) return undefined;
  const newline = which === 'first' ? bytes.indexOf(NEWLINE) : bytes.subarray(0, -1).lastIndexOf(NEWLINE);
  const line = which === 'first' ? bytes.subarray(0, Math.max(0, newline)) : bytes.subarray(newline + 1);
  try {
    const value: unknown = JSON.parse(textOf(line) ?? '');
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
