/**
 * The write-ahead log of a data directory, read without changing it. Unlike recovery it goes on behind damage, so that
 * all of it is told.
 */
import { at } from '../lib/assert.ts';
import { decodeLogRecord, emptyReplay, type Replay, replayRecord } from '../node/log-replay.ts';
import { readFile } from '../storage/files.ts';
import type { FileSystem } from '../storage/fs.ts';
import {
  SEGMENT_HEADER_BYTES,
  type SegmentScan,
  type WalRecord,
  decodeSegmentHeader,
  judgeTail,
  scanSegment,
  segmentName,
  segmentNumber,
} from '../storage/segment.ts';
import type { Findings } from './findings.ts';
import type { LogReport, Progress, SegmentReport, ShardEntries } from './report.ts';

/** The log, and what it adds up to. */
export interface LogContents {
  readonly report: LogReport;
  readonly replay: Replay;
}

interface Reading {
  readonly segments: SegmentReport[];
  readonly replay: Replay;
  /** A record that cannot follow what is before it is told once: all behind it would be told too. */
  isBroken: boolean;
  hasRecords: boolean;
}

/** Reads all segments in `directory`/wal, oldest first. */
export function* inspectLog(
  fs: FileSystem,
  directory: string,
  findings: Findings,
): Generator<Progress, LogContents> {
  const reading: Reading = { segments: [], replay: emptyReplay(), isBroken: false, hasRecords: false };
  const numbers = segmentNumbers(fs, `${directory}/wal`, findings);
  for (const [place, number] of numbers.entries()) {
    const name = segmentName(number);
    const bytes = findings.attempt(`wal/${name}`, () => readFile(fs, `${directory}/wal/${name}`));
    if (bytes === undefined) {
      reading.isBroken = true;
      continue;
    }
    readSegment(reading, findings, {
      number,
      bytes,
      isFirst: place === 0,
      isLast: place === numbers.length - 1,
    });
    yield { file: `wal/${name}`, bytes: bytes.length };
  }
  return { report: reportOf(reading), replay: reading.replay };
}

function readSegment(
  reading: Reading,
  findings: Findings,
  segment: {
    readonly number: number;
    readonly bytes: Uint8Array;
    readonly isFirst: boolean;
    readonly isLast: boolean;
  },
): void {
  const { number, bytes, isFirst, isLast } = segment;
  const name = segmentName(number);
  const file = `wal/${name}`;
  const header = decodeSegmentHeader(bytes, number);
  if ('reason' in header) {
    const isTorn =
      isLast && header.damaged && bytes.length <= SEGMENT_HEADER_BYTES && (number === 1 || !isFirst);
    if (!isTorn) {
      findings.add(file, header.isLater === true ? 'unreadable' : 'damaged', `offset 0: ${header.reason}`);
      reading.isBroken = true;
    }
    reading.segments.push({
      name,
      bytes: bytes.length,
      records: 0,
      shards: [],
      tornBytes: isTorn ? bytes.length : 0,
    });
    return;
  }
  const previous = reading.segments.at(-1);
  if (!isFirst && previous !== undefined && previous.bytes !== header.previousBytes) {
    const offset = Math.min(previous.bytes, header.previousBytes);
    const why = `its size is ${previous.bytes} bytes, expected ${header.previousBytes}`;
    findings.add(`wal/${previous.name}`, 'damaged', `offset ${offset}: ${why}`);
  }
  const scan = scanSegment(bytes, number);
  const isTorn = judgeEnd(findings, { file, bytes, number, isLast }, scan);
  if (scan.bad !== undefined && !isTorn) reading.isBroken = true;
  reading.segments.push({
    name,
    bytes: bytes.length,
    records: scan.records.length,
    shards: shardsOf(scan.records),
    tornBytes: isTorn ? bytes.length - scan.end : 0,
  });
  for (const record of scan.records) replay(reading, file, record, findings);
}

/** Reports a bad record, unless it is the end of the log and was never durable. @returns whether it is such an end */
function judgeEnd(
  findings: Findings,
  segment: {
    readonly file: string;
    readonly bytes: Uint8Array;
    readonly number: number;
    readonly isLast: boolean;
  },
  scan: SegmentScan,
): boolean {
  const { file, bytes, number, isLast } = segment;
  if (scan.bad === undefined) return false;
  const verdict = isLast ? judgeTail(bytes, number, scan.end) : undefined;
  if (verdict === 'torn') return true;
  const proof =
    verdict === undefined
      ? 'more segments follow'
      : verdict === 'undecided'
        ? 'it cannot be told whether it was ever durable'
        : `the record at offset ${verdict.offset} shows that it was durable`;
  findings.add(file, 'damaged', `offset ${scan.end}: ${scan.bad}; ${proof}`);
  return false;
}

function replay(reading: Reading, file: string, record: WalRecord, findings: Findings): void {
  if (reading.isBroken) return;
  const decoded = decodeLogRecord(record.type, record.payload);
  const why = typeof decoded === 'string' ? decoded : replayRecord(reading.replay, decoded);
  reading.hasRecords = true;
  if (why === undefined) return;
  findings.add(file, 'damaged', why);
  reading.isBroken = true;
}

function shardsOf(records: readonly WalRecord[]): readonly ShardEntries[] {
  const shards = new Map<number, ShardEntries>();
  for (const { type, shard, payload } of records) {
    const before = shards.get(shard) ?? {
      shard,
      records: 0,
      entries: 0,
      firstIndex: 0,
      lastIndex: 0,
      firstTerm: 0,
      lastTerm: 0,
    };
    const decoded = decodeLogRecord(type, payload);
    const entries = typeof decoded === 'string' || decoded.kind === 'restart' ? [] : (decoded.entries ?? []);
    const [first] = entries;
    const last = entries.at(-1);
    shards.set(shard, {
      shard,
      records: before.records + 1,
      entries: before.entries + entries.length,
      // An index may come again: a new leader replaces what was never committed.
      firstIndex:
        first === undefined ? before.firstIndex : Math.min(before.firstIndex || first.index, first.index),
      lastIndex: Math.max(before.lastIndex, last?.index ?? 0),
      firstTerm: before.firstTerm === 0 ? (first?.term ?? 0) : before.firstTerm,
      lastTerm: last?.term ?? before.lastTerm,
    });
  }
  return [...shards.values()].toSorted((a, b) => a.shard - b.shard);
}

function reportOf({ segments, replay: { hard, entries }, hasRecords }: Reading): LogReport {
  const [first] = entries;
  const last = entries.at(-1);
  return {
    segments,
    hard: hasRecords ? hard : undefined,
    firstIndex: first?.index ?? 0,
    lastIndex: last?.index ?? 0,
    firstTerm: first?.term ?? 0,
    lastTerm: last?.term ?? 0,
  };
}

function segmentNumbers(fs: FileSystem, directory: string, findings: Findings): readonly number[] {
  const names = findings.attempt('wal', () => fs.list(directory)) ?? [];
  const numbers: number[] = [];
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const number = segmentNumber(name);
    if (number === undefined)
      findings.add(`wal/${name}`, 'unreadable', 'it does not belong there; move it away');
    else numbers.push(number);
  }
  numbers.sort((a, b) => a - b);
  for (let i = 1; i < numbers.length; i++) {
    for (let missing = at(numbers, i - 1) + 1; missing < at(numbers, i); missing++)
      findings.add(`wal/${segmentName(missing)}`, 'damaged', 'it is missing');
  }
  return numbers;
}
