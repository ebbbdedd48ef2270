/**
 * A log that is damaged in the middle, on a node with peers (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based
 * Storage", FAST 2018). What lies before the damage is kept, what lies behind it is set aside. A note says, durably and
 * before anything is cut, how far the log went and what the node had voted: until the peers have made the loss good, the
 * core abstains from elections by it (rule `mustAbstain`).
 *
 *   lost.json   {index?, term, vote, segment?, offset?}: no `index`: nobody knows; `segment`: the cut is not complete
 *   damaged/    the segments that were cut, as they were found, for people
 */
import { CorruptionError, messageOf } from '../lib/errors.ts';
import type { NodeId } from '../raft/entry.ts';
import { type Config, decodeConfig } from '../raft/membership.ts';
import type { HardState, LostLog } from '../raft/messages.ts';
import type { FileSystem } from '../storage/fs.ts';
import { segmentNumbers } from '../storage/recovery.ts';
import { readSealedJson, writeSealedJson } from '../storage/sealed-json.ts';
import { type WalDamage, type WalPlace, findDamage, setDamageAside } from '../storage/wal-damage.ts';
import { Wal, type WalOpening, type WalRecord } from '../storage/wal.ts';
import {
  type LogRecord,
  type Replay,
  decodeLogRecord,
  emptyReplay,
  endOf,
  replayAll,
  replayRecord,
} from './log-replay.ts';

const NOTE = 'lost.json';

/** What a node knows of the part of its log that it has lost. */
export interface LossNote {
  readonly lost: LostLog;
  /** Whom it had voted for in the last of those terms. */
  readonly vote: NodeId;
}

interface Note extends LossNote {
  /** Where the log is to be cut, until that is done. */
  readonly cutting: WalPlace | undefined;
}

export interface LogOpening extends WalOpening {
  /** As long as it is not removed by {@link removeLossNote}. */
  readonly loss: LossNote | undefined;
  /** Why the log was cut just now, in words; undefined when it was not. */
  readonly damage: string | undefined;
}

/** Which log. */
export interface LogOptions {
  readonly fs: FileSystem;
  /** Of the node. */
  readonly directory: string;
  readonly segmentBytesMax?: number;
  /**
   * Whether others can make good what this node loses, by the newest members that the undamaged part of the log names,
   * undefined when it names none.
   */
  readonly mayLose: (config: Config | undefined) => boolean;
}

/**
 * Opens the log below `directory`, cutting it before damage if `mayLose` allows it.
 *
 * @throws CorruptionError when it is damaged and may not be cut, or when what it held cannot be told
 */
export function openLog(options: LogOptions): LogOpening {
  const { fs, directory, mayLose, ...rest } = options;
  const wal = { ...rest, fs, directory: `${directory}/wal` };
  let note = readNote(fs, directory);
  if (note?.cutting !== undefined) note = cut(fs, directory, note, note.cutting);
  try {
    return { ...Wal.open(wal), loss: note, damage: undefined };
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    const found = findDamage(fs, wal.directory);
    const loss = found === undefined ? undefined : lossOf(found, note);
    if (found === undefined || loss === undefined || !mayLose(membersBefore(found))) throw error;
    writeNote(fs, directory, { ...loss, cutting: found.place });
    note = cut(fs, directory, loss, found.place);
    return { ...Wal.open(wal), loss: note, damage: messageOf(error) };
  }
}

/**
 * Gives up all of the log, because what lies before it is lost, and remembers what it promised.
 *
 * @param begin called once it is certain that it goes, before anything is changed
 * @returns false when it may not be lost: nothing has changed then
 * @throws CorruptionError when what it held cannot be told
 */
export function giveUpLog(options: LogOptions, begin: () => void): boolean {
  const { fs, directory, mayLose } = options;
  const { wal, records, loss } = openLog(options);
  wal.close();
  const { replay } = replayAll(records, directory);
  if (!mayLose(newestMembers(replay))) return false;
  begin();
  // Done before a crash: what was set aside then must not be replaced by the empty log that followed it.
  if (loss !== undefined && endOf(replay) === 0) return true;
  const hard = loss === undefined ? replay.hard : hardStateAfter(loss, replay.hard);
  const index = Math.max(endOf(replay), loss?.lost.index ?? 0);
  const cutting = { segment: segmentNumbers(fs, `${directory}/wal`)[0] ?? 0, offset: 0 };
  const note = { lost: { index, term: hard.term }, vote: hard.vote };
  writeNote(fs, directory, { ...note, cutting });
  cut(fs, directory, note, cutting);
  return true;
}

/** The hard state with what the note knows of it: the log itself may have lost the newest. */
export function hardStateAfter(loss: LossNote, hard: HardState): HardState {
  const { term } = loss.lost;
  if (hard.term > term || (hard.term === term && hard.vote !== 0)) return hard;
  return { term, vote: loss.vote, commit: hard.commit };
}

/** What was lost is made good, durably. */
export function removeLossNote(fs: FileSystem, directory: string): void {
  fs.remove(`${directory}/${NOTE}`);
  fs.syncDirectory(directory);
}

function cut(fs: FileSystem, directory: string, loss: LossNote, place: WalPlace): Note {
  setDamageAside(fs, { directory: `${directory}/wal`, aside: `${directory}/damaged`, place });
  const note = { lost: loss.lost, vote: loss.vote, cutting: undefined };
  writeNote(fs, directory, note);
  return note;
}

/**
 * How far the log went: to the end of the newest append behind the damage, since with it the log was one again. With none
 * there, nobody knows. An earlier loss may not be made good yet, so that nothing is taken back of it.
 */
function lossOf({ newest }: WalDamage, earlier: LossNote | undefined): LossNote | undefined {
  const records = decodeAll(newest);
  const last = records?.at(-1);
  if (records === undefined || last === undefined) return undefined;
  let index: number | undefined;
  for (const record of records) {
    if (record.kind === 'restart') index = record.keep ? index : record.base.index;
    else if (record.entries !== undefined) index = record.after + record.entries.length;
  }
  const { term, vote } = last.hard;
  return { lost: { index: Math.max(index ?? Infinity, earlier?.lost.index ?? 0), term }, vote };
}

/** The newest members that the log names before the damage. */
function membersBefore({ before }: WalDamage): Config | undefined {
  const replay: Replay = emptyReplay();
  for (const record of decodeAll(before) ?? []) if (replayRecord(replay, record) !== undefined) break;
  return newestMembers(replay);
}

function newestMembers({ entries }: Replay): Config | undefined {
  const entry = entries.findLast(({ kind }) => kind === 'config');
  return entry === undefined ? undefined : decodeConfig(entry.payload);
}

function decodeAll(records: readonly WalRecord[]): readonly LogRecord[] | undefined {
  const decoded: LogRecord[] = [];
  for (const { type, payload } of records) {
    const record = decodeLogRecord(type, payload);
    if (typeof record === 'string') return undefined;
    decoded.push(record);
  }
  return decoded;
}

function writeNote(fs: FileSystem, directory: string, { lost, vote, cutting }: Note): void {
  const index = Number.isFinite(lost.index) ? { index: lost.index } : {};
  writeSealedJson(fs, directory, NOTE, { ...index, term: lost.term, vote, ...cutting });
}

function readNote(fs: FileSystem, directory: string): Note | undefined {
  const path = `${directory}/${NOTE}`;
  if (!fs.exists(path)) return undefined;
  const fields = readSealedJson(fs, path);
  const numberOf = (name: string): number | undefined => {
    const value = fields[name];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  const term = numberOf('term');
  const vote = numberOf('vote');
  const segment = numberOf('segment');
  const offset = numberOf('offset');
  if (term === undefined || vote === undefined || (segment === undefined) !== (offset === undefined))
    throw new CorruptionError(`Cannot read "${path}": its fields make no sense`);
  const cutting = segment === undefined || offset === undefined ? undefined : { segment, offset };
  return { lost: { index: numberOf('index') ?? Infinity, term }, vote, cutting };
}
