/** A data directory in words and in JSON: what offline/inspect.ts found, for `oxide-kv inspect`. */
import { displayText, fromLatin1, textOf } from '../lib/bytes.ts';
import type {
  Finding,
  LogReport,
  NodeReport,
  SegmentReport,
  SnapshotReport,
  TreeReport,
} from '../offline/report.ts';
import { bytesText, counted } from './units.ts';

const KEY_CHARACTERS_MAX = 24;

/** A report as lines. @param runningPid the process that uses the directory now, if one does */
export function inspectionLines(report: NodeReport, runningPid: number | undefined): readonly string[] {
  const rows: (readonly [string, string])[] = [
    ['owner', ownerText(report)],
    ['format', `${report.format ?? 'unknown'}, engine ${report.engine ?? 'unknown'}`],
  ];
  if (runningPid !== undefined)
    rows.push(['in use', `by process ${runningPid}; this is what was durable a moment ago`]);
  if (report.founders !== undefined) rows.push(['founders', report.founders.map((id) => `n${id}`).join(' ')]);
  if (report.members !== undefined)
    rows.push(['members', `${report.members.text} (as of index ${report.members.index})`]);
  const { log } = report;
  if (log?.hard !== undefined) {
    const { term, vote, commit } = log.hard;
    rows.push(['hard state', `term ${term}, vote ${vote === 0 ? 'none' : `n${vote}`}, commit ${commit}`]);
  }
  return [
    `Data directory ${report.path}`,
    ...rows.map(([name, text]) => `  ${name.padEnd(12)}${text}`),
    ...logLines(log, runningPid !== undefined),
    ...snapshotLines(report.snapshots),
    ...treeLines(report.tree),
    ...report.leftovers.map((name) => `  ${'left over'.padEnd(12)}${name}`),
    ...report.findings.map((finding) => `  ${'DAMAGE'.padEnd(12)}${findingText(finding)}`),
    `  ${verdictText(report)}`,
  ];
}

/** A report as plain data: keys as text, or base64 where they are none. */
export function inspectionJson(report: NodeReport, runningPid: number | undefined): object {
  const { tree, lockHolders: _, ...rest } = report;
  const levels = tree?.levels.map(({ firstKey, lastKey, ...level }) => ({
    ...level,
    firstKey: keyJson(firstKey),
    lastKey: keyJson(lastKey),
  }));
  return {
    ...rest,
    ...(tree === undefined ? {} : { tree: { ...tree, levels } }),
    usedBy: runningPid ?? null,
    sound: report.findings.length === 0,
  };
}

function ownerText({ identity }: NodeReport): string {
  if (identity === undefined) return 'unknown';
  const { nodeId, cluster, incarnation, witness } = identity;
  const of = cluster === undefined ? '' : ` of cluster "${cluster}"`;
  return `node ${nodeId}${of}${witness ? ', a witness' : ''}, incarnation ${incarnation}`;
}

function logLines(log: LogReport | undefined, isRunning: boolean): readonly string[] {
  if (log === undefined || log.segments.length === 0) return [`  ${'log'.padEnd(12)}empty`];
  const bytes = log.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  const held =
    log.lastIndex === 0
      ? 'no entries'
      : `entries ${log.firstIndex} to ${log.lastIndex}, ${termsText(log.firstTerm, log.lastTerm)}`;
  return [
    `  ${'log'.padEnd(12)}${held}, ${counted(log.segments.length, 'segment')}, ${bytesText(bytes)}`,
    ...log.segments.flatMap((segment) => segmentLines(segment, isRunning)),
  ];
}

function segmentLines(segment: SegmentReport, isRunning: boolean): readonly string[] {
  const { name, bytes, records, shards, tornBytes } = segment;
  const lines = [`    wal/${name}  ${bytesText(bytes)}, ${counted(records, 'record')}`];
  for (const { shard, entries, firstIndex, lastIndex, firstTerm, lastTerm } of shards) {
    if (entries === 0) continue;
    const terms = termsText(firstTerm, lastTerm);
    lines.push(
      `      shard ${shard}: ${counted(entries, 'entry', 'entries')}, ${firstIndex} to ${lastIndex}, ${terms}`,
    );
  }
  const what = isRunning ? 'still being written' : 'never durable, the next start cuts them off';
  if (tornBytes > 0) lines.push(`      ${counted(tornBytes, 'byte')} at the end: ${what}`);
  return lines;
}

function termsText(first: number, last: number): string {
  return first === last ? `term ${first}` : `terms ${first} to ${last}`;
}

function snapshotLines(snapshots: readonly SnapshotReport[]): readonly string[] {
  return snapshots.map((snapshot) => `  ${'snapshot'.padEnd(12)}${snapshotText(snapshot)}`);
}

function snapshotText({ name, bytes, format, index, term, rows }: SnapshotReport): string {
  const held = rows === undefined ? '' : `, ${counted(rows, 'row')}`;
  return `${name}: index ${index}, term ${term}${held}, ${bytesText(bytes)}, format ${format}`;
}

function treeLines(tree: TreeReport | undefined): readonly string[] {
  if (tree === undefined) return [];
  const horizon = tree.horizon === 0 ? '' : `, history before ${tree.horizon} may be gone`;
  const lines = [`  ${'tree'.padEnd(12)}lsm/${tree.manifest}${horizon}`];
  if (tree.checkpoint !== undefined) {
    const { name, index, term, bytes } = tree.checkpoint;
    lines.push(`    checkpoint: index ${index}, term ${term}, ${name}, ${bytesText(bytes)}`);
  }
  for (const level of tree.levels) {
    const { tables, bytes, versions, revisionMin, revisionMax } = level;
    lines.push(
      `    L${level.level}: ${counted(tables, 'table')}, ${bytesText(bytes)}, ${counted(versions, 'version')}, ` +
        `keys ${keyText(level.firstKey)} to ${keyText(level.lastKey)}, revisions ${revisionMin} to ${revisionMax}`,
    );
  }
  return lines;
}

function keyText(key: string): string {
  const text = displayText(fromLatin1(key));
  const short = text.slice(0, KEY_CHARACTERS_MAX);
  return `"${short}${short === text ? '' : '…'}"`;
}

function keyJson(key: string): string | object {
  const bytes = fromLatin1(key);
  return textOf(bytes) ?? { base64: Buffer.from(bytes).toString('base64') };
}

function findingText({ file, message }: Finding): string {
  return message.includes(file) ? message : `${file}: ${message}`;
}

function verdictText({ findings, verified, files, bytes }: NodeReport): string {
  const size = `${counted(files, 'file')}, ${bytesText(bytes)}`;
  if (findings.length > 0) return `Not sound: ${counted(findings.length, 'problem')} in ${size}`;
  return verified
    ? `Sound: ${size}, every byte read`
    : `No damage seen in ${size}; --verify reads every byte`;
}
