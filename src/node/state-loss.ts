/**
 * Damaged data on a node with peers: a table, a snapshot or the manifest is not what was written, or does not fit the log.
 * Then the data are lost, and the log with them, since it begins behind what is lost. Both are set aside, and the node
 * begins again with nothing but what it has promised: its term, its vote, and how far its log went. It abstains from
 * elections until a leader has made that good, like a node whose log was damaged (log-damage.ts); a snapshot brings the data
 * (Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
 *
 *   damage.json     {why}: there from before anything is moved until everything is
 *   damaged-data/   the files of the data as they were found, the last time that this happened
 *   damaged/        the log, as log-damage.ts keeps it
 */
import { messageOf } from '../lib/errors.ts';
import type { Config } from '../raft/membership.ts';
import type { FileSystem } from '../storage/fs.ts';
import { damaged, readSealedJson, writeSealedJson } from '../storage/sealed-json.ts';
import { type LogOptions, giveUpLog } from './log-damage.ts';

const NOTE = 'damage.json';
const ASIDE = 'damaged-data';
/** Where engines keep their files: open-store.ts. */
const DATA = ['snapshots', 'lsm'] as const;

/** Whose data. */
export interface RepairOptions {
  readonly fs: FileSystem;
  readonly directory: string;
  /** Whether others have what is lost here, when these are the members. */
  readonly hasPeers: (config: Config) => boolean;
  /** Is told in words what becomes of it. */
  readonly tell: (text: string) => void;
}

/** What was found to be damaged, in words; undefined when nothing is to be set aside. */
export function notedDamage(fs: FileSystem, directory: string): string | undefined {
  const path = `${directory}/${NOTE}`;
  if (!fs.exists(path)) return undefined;
  const { why } = readSealedJson(fs, path);
  if (typeof why !== 'string') throw damaged(path, 'it does not say what is damaged');
  return why;
}

/** Notes, durably, that the data are not to be believed: the next start sets them aside. */
export function noteDamage(fs: FileSystem, directory: string, why: string): void {
  const aside = `${directory}/${ASIDE}`;
  if (fs.exists(`${directory}/${NOTE}`)) return;
  if (fs.exists(aside)) for (const name of fs.list(aside)) fs.remove(`${aside}/${name}`);
  writeSealedJson(fs, directory, NOTE, { why });
}

/**
 * Sets data and log aside, unless nobody could make them good (`log.mayLose`). After a crash in the middle of it, the same call
 * completes it.
 *
 * @returns whether it has
 * @throws CorruptionError when the log cannot tell what the node has promised
 */
export function setDataAside(log: LogOptions, why: string): boolean {
  const { fs, directory } = log;
  const isUnderWay = notedDamage(fs, directory) !== undefined;
  const begin = (): void => noteDamage(fs, directory, why);
  if (!giveUpLog(isUnderWay ? { ...log, mayLose: () => true } : log, begin)) return false;
  const aside = `${directory}/${ASIDE}`;
  fs.makeDirectory(aside);
  fs.syncDirectory(directory);
  for (const data of DATA.map((name) => `${directory}/${name}`)) {
    if (!fs.exists(data)) continue;
    for (const name of fs.list(data)) fs.rename(`${data}/${name}`, `${aside}/${name}`);
    fs.syncDirectory(aside);
    fs.syncDirectory(data);
  }
  fs.remove(`${directory}/${NOTE}`);
  fs.syncDirectory(directory);
  return true;
}

/** What a node that finds its data damaged while it runs does about it. */
export class Repair {
  readonly #options: RepairOptions;
  #isDue = false;

  constructor(options: RepairOptions) {
    this.#options = options;
  }

  /** This life can do nothing any more, and the next one begins without the data. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** @param config the members, of whom some must have what is lost here; otherwise nothing is done */
  ask(why: string, config: Config): void {
    const { fs, directory, hasPeers, tell } = this.#options;
    if (!hasPeers(config)) return;
    try {
      noteDamage(fs, directory, why);
    } catch (error) {
      return tell(`cannot note the damage: ${messageOf(error)}`);
    }
    this.#isDue = true;
    tell('starts again without its data, and gets them from its peers');
  }
}
