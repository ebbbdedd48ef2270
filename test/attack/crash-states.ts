/**
 * All that a power cut can leave on a disk: what was synced, and of everything else any part, in any order (Pillai et al.,
 * "All File Systems Are Not Created Equal", 2014). A write is there, is not, or is torn: a prefix of it, or any of its
 * sectors of 512 or 4096 bytes, and the file may have grown to its new size with zeros.
 */
import { at } from '../../src/lib/assert.ts';
import type { Random } from '../../src/lib/random.ts';
import type { Change, Effect } from './effects.ts';
import { type Image, directoryOf } from './images.ts';
import type { Legal } from './story.ts';

const NOTHING = new Uint8Array(0);
const SECTOR_BYTES = [512, 4096];
/** Up to so many pending changes, each of them is tried kept and lost in every combination. */
const EXHAUSTIVE_MAX = 10;
const RANDOM_COMBINATIONS = 200;
const TEARS_MAX = 24;
const PREFIXES = 12;

/** What becomes of a change that was not synced. */
type Fate = 'lost' | 'kept' | Tear;

interface Tear {
  /** Parts of the write that are there: from one of its bytes to before another. */
  readonly pieces: readonly (readonly [number, number])[];
  /** The file has the size that the whole write would have given it. */
  readonly isGrown: boolean;
}

/** What a power cut leaves at one moment, and what may be found then. */
export interface CrashState {
  readonly image: Image;
  readonly legal: Legal;
}

/** A disk on which changes wait for their syncs. */
class PendingDisk {
  readonly #directories: Set<string>;
  readonly #names: Map<string, number>;
  readonly #contents: Map<number, Uint8Array> = new Map();
  pending: readonly Change[] = [];

  constructor(image: Image, inodes: ReadonlyMap<string, number>) {
    this.#directories = new Set(image.directories);
    this.#names = new Map(inodes);
    for (const [path, inode] of inodes) this.#contents.set(inode, image.files.get(path) ?? NOTHING);
  }

  sync(inode: number): void {
    const isDone = (change: Change): boolean => change.kind !== 'names' && change.inode === inode;
    for (const change of this.pending) if (isDone(change)) applyTo(this.#contents, change, 'kept');
    this.pending = this.pending.filter((change) => !isDone(change));
  }

  syncDirectory(directory: string): void {
    const isDone = (change: Change): boolean =>
      change.kind === 'names' && change.changes.some(({ path }) => directoryOf(path) === directory);
    for (const change of this.pending) if (isDone(change)) applyNames(this.#names, this.#directories, change);
    this.pending = this.pending.filter((change) => !isDone(change));
  }

  /** The disk when each pending change has its fate. */
  imageWith(fates: readonly Fate[]): Image {
    const directories = new Set(this.#directories);
    const names = new Map(this.#names);
    const contents = new Map(this.#contents);
    for (const [i, change] of this.pending.entries()) {
      const fate = at(fates, i);
      if (fate === 'lost') continue;
      if (change.kind === 'names') applyNames(names, directories, change);
      else applyTo(contents, change, fate);
    }
    const reachable = new Set([...directories].filter((path) => isReachable(path, directories)));
    const files = new Map<string, Uint8Array>();
    for (const [path, inode] of names)
      if (isReachable(path, directories)) files.set(path, contents.get(inode) ?? NOTHING);
    return { directories: reachable, files };
  }
}

function isReachable(path: string, directories: ReadonlySet<string>): boolean {
  const parent = directoryOf(path);
  return parent === '' || (directories.has(parent) && isReachable(parent, directories));
}

function applyNames(names: Map<string, number>, directories: Set<string>, change: Change): void {
  if (change.kind !== 'names') return;
  for (const { path, node } of change.changes) {
    if (node === 'directory') directories.add(path);
    else if (node === undefined) names.delete(path);
    else names.set(path, node);
  }
}

function applyTo(contents: Map<number, Uint8Array>, change: Change, fate: 'kept' | Tear): void {
  if (change.kind === 'names') return;
  const before = contents.get(change.inode) ?? NOTHING;
  contents.set(change.inode, changed(before, change, fate));
}

function changed(
  before: Uint8Array,
  change: Exclude<Change, { readonly kind: 'names' }>,
  fate: 'kept' | Tear,
): Uint8Array {
  if (change.kind === 'truncate') return resized(before, change.size);
  const { offset, bytes } = change;
  const pieces = fate === 'kept' ? [[0, bytes.length] as const] : fate.pieces;
  let end = before.length;
  if (fate === 'kept' || fate.isGrown) end = Math.max(end, offset + bytes.length);
  for (const [, stop] of pieces) end = Math.max(end, offset + stop);
  const after = resized(before, end);
  for (const [start, stop] of pieces) after.set(bytes.subarray(start, stop), offset + start);
  return after;
}

function resized(bytes: Uint8Array, size: number): Uint8Array {
  const after = new Uint8Array(size);
  after.set(bytes.subarray(0, size));
  return after;
}

/**
 * The states that a power cut can leave behind each effect, most of them once.
 *
 * @param how.perPoint at most so many for each effect
 */
export function* crashStates(
  initial: { readonly image: Image; readonly inodes: ReadonlyMap<string, number> },
  effects: readonly Effect[],
  how: { readonly random: Random; readonly perPoint: number },
): IterableIterator<CrashState> {
  const disk = new PendingDisk(initial.image, initial.inodes);
  let legal: Legal = { from: 0, to: 0 };
  for (const effect of effects) {
    let isAdded = false;
    if (effect.kind === 'told') ({ legal } = effect);
    else if (effect.kind === 'sync') disk.sync(effect.inode);
    else if (effect.kind === 'syncDirectory') disk.syncDirectory(effect.directory);
    else {
      disk.pending = [...disk.pending, effect];
      isAdded = true;
    }
    // Without the newest change a state is one of those before it.
    const fates = fatesOf(disk.pending, how.random).filter((all) => !isAdded || all.at(-1) !== 'lost');
    for (const chosen of sample(fates, how.perPoint, how.random))
      yield { image: disk.imageWith(chosen), legal };
  }
}

/** At most `count` of a list: the first two, which are the extremes, when there is room for others, and some of the rest. */
function sample<T>(list: readonly T[], count: number, random: Random): readonly T[] {
  if (list.length <= count) return list;
  const extremes = count > 2 ? 2 : 0;
  const chosen = list.slice(0, extremes);
  const rest = list.slice(extremes);
  while (chosen.length < count) {
    const i = random.int(0, rest.length - 1);
    chosen.push(at(rest, i));
    rest[i] = at(rest, rest.length - 1);
    rest.length -= 1;
  }
  return chosen;
}

/** Combinations of fates: all kept and all lost first. */
function fatesOf(pending: readonly Change[], random: Random): readonly (readonly Fate[])[] {
  const count = pending.length;
  const all = (fate: Fate): Fate[] => pending.map(() => fate);
  const list: Fate[][] = [all('kept'), all('lost')];
  if (count <= EXHAUSTIVE_MAX) {
    for (let bits = 1; bits < 2 ** count - 1; bits++)
      list.push(pending.map((_, i) => ((bits >> i) & 1 ? 'kept' : 'lost')));
  } else {
    for (let i = 0; i < count; i++) {
      list.push(pending.map((_, j) => (j < i ? 'kept' : 'lost')));
      list.push(pending.map((_, j) => (j === i ? 'lost' : 'kept')));
      list.push(pending.map((_, j) => (j === i ? 'kept' : 'lost')));
    }
    for (let i = 0; i < RANDOM_COMBINATIONS; i++)
      list.push(pending.map(() => (random.chance(0.5) ? 'kept' : 'lost')));
  }
  const tears = pending.map((change) => (change.kind === 'write' ? tearsOf(change.bytes, random) : []));
  for (const [i, tearsHere] of tears.entries()) {
    for (const tear of tearsHere) {
      list.push(all('kept').with(i, tear), all('lost').with(i, tear));
      list.push(pending.map((_, j) => (j < i ? 'kept' : j === i ? tear : 'lost')));
      list.push(pending.map((_, j) => (j === i ? tear : random.chance(0.5) ? 'kept' : 'lost')));
    }
  }
  if (tears.filter((tearsHere) => tearsHere.length > 0).length > 1) {
    for (let i = 0; i < TEARS_MAX; i++) list.push(tears.map((tearsHere) => anyOf(tearsHere, random)));
  }
  return list;
}

function anyOf(tears: readonly Tear[], random: Random): Fate {
  if (tears.length === 0 || random.chance(0.4)) return random.chance(0.5) ? 'kept' : 'lost';
  return at(tears, random.int(0, tears.length - 1));
}

/** Ways in which a write can be torn. */
function tearsOf(bytes: Uint8Array, random: Random): readonly Tear[] {
  const { length } = bytes;
  const lists: (readonly (readonly [number, number])[])[] = [[]];
  const ends = [1, length >> 1, length - 1, 15, 24];
  for (let i = 0; i < PREFIXES; i++) ends.push(random.int(1, length));
  for (const end of new Set(ends)) if (end > 0 && end < length) lists.push([[0, end]]);
  for (const sectorBytes of SECTOR_BYTES) {
    const sectors: (readonly [number, number])[] = [];
    for (let start = 0; start < length; start += sectorBytes)
      sectors.push([start, Math.min(length, start + sectorBytes)]);
    if (sectors.length < 2) continue;
    const subsets = 2 ** sectors.length - 2;
    for (let i = 1; i <= Math.min(subsets, TEARS_MAX); i++) {
      const bits = subsets <= TEARS_MAX ? i : random.int(1, subsets);
      lists.push(sectors.filter((_, s) => Math.floor(bits / 2 ** s) % 2 === 1));
    }
  }
  return lists.flatMap((pieces) => [
    ...(pieces.length > 0 ? [{ pieces, isGrown: false }] : []),
    { pieces, isGrown: true },
  ]);
}
