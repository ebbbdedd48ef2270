/**
 * A disk in memory that forgets like a real one. Every write, truncation and change of a name is *pending* until the
 * sync that covers it: `File.sync()` for data and size, `syncDirectory()` for names. At a power cut each pending operation
 * is kept, lost or (a write) torn, independently of the others and in no order, as the operating system allows
 * (Pillai et al., "All File Systems Are Not Created Equal", 2014). Failures of single calls can be injected.
 */
import { assert } from '../lib/assert.ts';
import { StorageError } from '../lib/errors.ts';
import type { Random } from '../lib/random.ts';
import type { File, FileSystem } from '../storage/fs.ts';

/** Thrown by the call at which the power is cut, and by every later call on that disk. */
export class PowerCut extends Error {
  override readonly name = 'PowerCut';
  constructor() {
    super('the power was cut');
  }
}

/** What a program asks of a disk. */
export type CallKind =
  | 'create'
  | 'open'
  | 'read'
  | 'write'
  | 'size'
  | 'truncate'
  | 'sync'
  | 'exists'
  | 'list'
  | 'makeDirectory'
  | 'rename'
  | 'remove'
  | 'syncDirectory';

/** A call that is about to happen. */
export interface Call {
  /** 1 for the first call on this disk. */
  readonly number: number;
  /** 1 for the first call of this kind. */
  readonly numberOfKind: number;
  readonly kind: CallKind;
  readonly path: string;
}

export type Errno = keyof typeof ERRNO_TEXT;

/** What a call does instead of working. */
export type Fault =
  /** The power goes in the middle of the call: what it changes is pending, and nothing works any more. */
  | { readonly kind: 'powerCut' }
  /** It fails, and nothing changes. */
  | { readonly kind: 'error'; readonly errno: Errno }
  /** A write takes the first `bytes` bytes, then fails. */
  | { readonly kind: 'shortWrite'; readonly errno: Errno; readonly bytes: number }
  /** A sync fails and forgets what it should have written; reads still show it, and the next sync succeeds. */
  | { readonly kind: 'dropPages'; readonly errno: Errno }
  /** A sync says that it is done, and has done nothing: what should be durable is as pending as before. */
  | { readonly kind: 'lie' };

/** Decides about every call; undefined lets it work. */
export type Intercept = (call: Call) => Fault | undefined;

/** A fault that waits for its call: the `atCall`th from now, or the first of `kind` from then on. */
export interface DiskFault {
  readonly atCall: number;
  readonly kind?: CallKind;
  readonly fault: Fault;
}

/** The call with this number suffers `fault`; with `kind`, the nth of that kind. */
export function nthCall(number: number, fault: Fault, kind?: CallKind): Intercept {
  return (call) => {
    if (kind === undefined) return call.number === number ? fault : undefined;
    return call.kind === kind && call.numberOfKind === number ? fault : undefined;
  };
}

/** `worst`: everything pending is lost. `best`: everything is kept. `any`: each operation by itself. */
export type CrashMode = 'worst' | 'best' | 'any';

const ERRNO_TEXT = {
  EACCES: 'permission denied',
  EBADF: 'bad file descriptor',
  EEXIST: 'file already exists',
  EIO: 'i/o error',
  EISDIR: 'illegal operation on a directory',
  EMFILE: 'too many open files',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
} as const;

type DataChange =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number };

/** Sets or (undefined) removes one name. */
interface NameChange {
  readonly directory: Directory;
  readonly name: string;
  readonly node: Inode | Directory | undefined;
}

/** The bytes of a file, growing by doubling. What is beyond `size` is zero. */
class Content {
  #bytes = new Uint8Array(0);
  size = 0;

  apply(change: DataChange): void {
    if (change.kind === 'truncate') this.resize(change.size);
    else if (change.bytes.length > 0) {
      this.resize(Math.max(this.size, change.offset + change.bytes.length));
      this.#bytes.set(change.bytes, change.offset);
    }
  }

  resize(size: number): void {
    if (size > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(size, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.size));
      this.#bytes = larger;
    }
    if (size < this.size) this.#bytes.fill(0, size, this.size);
    this.size = size;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#bytes.slice(offset, Math.min(offset + length, this.size));
  }
}

class Inode {
  /** What reads see. */
  readonly cached = new Content();
  /** What survives the worst power cut. */
  readonly durable = new Content();
  pending: DataChange[] = [];

  static of(bytes: Uint8Array): Inode {
    const inode = new Inode();
    inode.cached.apply({ kind: 'write', offset: 0, bytes });
    inode.durable.apply({ kind: 'write', offset: 0, bytes });
    return inode;
  }

  change(change: DataChange): void {
    this.cached.apply(change);
    this.pending.push(change);
  }

  flush(): void {
    for (const change of this.pending) this.durable.apply(change);
    this.pending = [];
  }
}

class Directory {
  readonly cached = new Map<string, Inode | Directory>();
  readonly durable = new Map<string, Inode | Directory>();
}

/** The disk. One owner; after {@link CrashFileSystem.crash} or a power cut only the disk that `crash` returned works. */
export class CrashFileSystem implements FileSystem {
  /** Consulted before every call. */
  intercept: Intercept | undefined;
  /** Bytes that all files together may have; a write over it is short and fails with ENOSPC. */
  capacityBytes: number = Infinity;
  /** Files opened and not closed. */
  openFiles: number = 0;
  readonly #sectorBytes: number;
  #root = new Directory();
  /** Changes of names not yet durable, oldest first. The changes of one rename stand or fall together. */
  #pendingNames: (readonly NameChange[])[] = [];
  #calls = 0;
  readonly #callsOfKind = new Map<CallKind, number>();
  #isDead = false;

  /** @param options.sectorBytes what the disk writes atomically; default 512 */
  constructor(options: { readonly sectorBytes?: number } = {}) {
    this.#sectorBytes = options.sectorBytes ?? 512;
  }

  /** Calls so far. */
  get calls(): number {
    return this.#calls;
  }

  /** Bytes that all files together have. */
  get usedBytes(): number {
    let used = 0;
    for (const inode of this.#inodes()) used += inode.cached.size;
    return used;
  }

  /** Whether a power cut now could lose something. */
  get hasPending(): boolean {
    if (this.#pendingNames.length > 0) return true;
    return [...this.#inodes()].some((inode) => inode.pending.length > 0);
  }

  /** Cuts the power. @returns the disk as it is found afterwards; this one is dead */
  crash(random: Random, mode: CrashMode = 'any'): CrashFileSystem {
    this.#isDead = true;
    // Some cuts lose nearly all, some nearly nothing: a fixed ratio would hardly ever show either.
    const keepRatio = mode === 'worst' ? 0 : mode === 'best' ? 1 : random.ratio();
    for (const changes of this.#pendingNames) if (random.chance(keepRatio)) applyNames(changes);
    const after = new CrashFileSystem({ sectorBytes: this.#sectorBytes });
    const survivors = new Map<Inode, Inode>();
    const copy = (from: Directory, to: Directory): void => {
      for (const [name, node] of from.durable) {
        let copied: Inode | Directory;
        if (node instanceof Directory) {
          copied = new Directory();
          copy(node, copied);
        } else {
          // A rename that was lost before one that was kept leaves two names of one file.
          const survivor = survivors.get(node) ?? this.#survivor(node, random, { keepRatio, mode });
          survivors.set(node, survivor);
          copied = survivor;
        }
        to.cached.set(name, copied);
        to.durable.set(name, copied);
      }
    };
    copy(this.#root, after.#root);
    return after;
  }

  /** The bytes that reads of a file would show now. */
  peek(path: string): Uint8Array {
    const inode = this.#inode(path, 'read');
    return inode.cached.read(0, inode.cached.size);
  }

  /** Puts bytes on the disk behind the program's back, durable: damage, or somebody's copy. Creates the file. */
  poke(path: string, bytes: Uint8Array): void {
    const { directory, name } = this.#parent(path, 'write');
    const inode = Inode.of(bytes);
    directory.cached.set(name, inode);
    directory.durable.set(name, inode);
  }

  open(path: string, mode: 'create' | 'readWrite' | 'read'): File {
    const isCreate = mode === 'create';
    const cut = this.#begin(isCreate ? 'create' : 'open', path);
    if (!isCreate) {
      const inode = this.#inode(path, 'open');
      cut();
      return this.#file(path, inode, mode === 'readWrite');
    }
    const { directory, name } = this.#parent(path, 'create');
    if (directory.cached.has(name)) throw refused('create', path, 'EEXIST');
    const inode = new Inode();
    this.#changeNames([{ directory, name, node: inode }]);
    cut();
    return this.#file(path, inode, true);
  }

  exists(path: string): boolean {
    this.#begin('exists', path)();
    return this.#node(path) !== undefined;
  }

  list(path: string): readonly string[] {
    this.#begin('list', path)();
    return [...this.#directory(path, 'list').cached.keys()].toSorted();
  }

  makeDirectory(path: string): void {
    const cut = this.#begin('makeDirectory', path);
    let directory = this.#root;
    for (const name of namesOf(path)) {
      let next = directory.cached.get(name);
      if (next === undefined) {
        next = new Directory();
        this.#changeNames([{ directory, name, node: next }]);
      }
      if (!(next instanceof Directory)) throw refused('create directory', path, 'EEXIST');
      directory = next;
    }
    cut();
  }

  rename(from: string, to: string): void {
    const cut = this.#begin('rename', to);
    const source = this.#parent(from, 'rename');
    const target = this.#parent(to, 'rename');
    const node = source.directory.cached.get(source.name);
    if (node === undefined) throw refused('rename', from, 'ENOENT');
    if (target.directory.cached.get(target.name) instanceof Directory) throw refused('rename', to, 'EISDIR');
    const removal = { directory: source.directory, name: source.name, node: undefined };
    this.#changeNames([removal, { directory: target.directory, name: target.name, node }]);
    cut();
  }

  remove(path: string): void {
    const cut = this.#begin('remove', path);
    this.#inode(path, 'remove');
    const { directory, name } = this.#parent(path, 'remove');
    this.#changeNames([{ directory, name, node: undefined }]);
    cut();
  }

  syncDirectory(path: string): void {
    const fault = this.#faultOf('syncDirectory', path);
    if (fault?.kind === 'powerCut') this.#die();
    if (fault?.kind === 'lie') return;
    if (fault !== undefined) throw refused('syncDirectory', path, fault.errno);
    const directory = this.#directory(path, 'sync directory');
    const left: (readonly NameChange[])[] = [];
    for (const changes of this.#pendingNames) {
      if (changes.some((change) => change.directory === directory)) applyNames(changes);
      else left.push(changes);
    }
    this.#pendingNames = left;
  }

  /**
   * Counts a call and lets its fault happen. A power cut comes when the call's change is pending: the returned function
   * is called at that point.
   */
  #begin(kind: CallKind, path: string): () => void {
    const fault = this.#faultOf(kind, path);
    if (fault === undefined) return () => {};
    if (fault.kind === 'powerCut') return () => this.#die();
    assert(fault.kind !== 'lie', 'Only a sync lies');
    throw refused(kind, path, fault.errno);
  }

  #faultOf(kind: CallKind, path: string): Fault | undefined {
    if (this.#isDead) throw new PowerCut();
    const numberOfKind = (this.#callsOfKind.get(kind) ?? 0) + 1;
    this.#calls += 1;
    this.#callsOfKind.set(kind, numberOfKind);
    return this.intercept?.({ number: this.#calls, numberOfKind, kind, path });
  }

  #die(): never {
    this.#isDead = true;
    throw new PowerCut();
  }

  #file(path: string, inode: Inode, isWritable: boolean): File {
    let isOpen = true;
    this.openFiles += 1;
    const begin = (kind: 'read' | 'write' | 'size' | 'truncate' | 'sync'): Fault | undefined => {
      if (!isOpen) throw new StorageError(`Cannot ${kind} "${path}": the file is closed`);
      const isChange = kind === 'write' || kind === 'truncate';
      if (isChange && !isWritable) throw refused(kind, path, 'EBADF');
      const fault = this.#faultOf(kind, path);
      if (fault?.kind === 'error') throw refused(kind, path, fault.errno);
      if (fault?.kind === 'powerCut' && !isChange) this.#die();
      return fault;
    };
    return {
      write: (bytes, offset) => {
        const fault = begin('write');
        const room = this.#roomFor(inode, offset, bytes.length);
        const taken = fault?.kind === 'shortWrite' ? Math.min(fault.bytes, bytes.length) : bytes.length;
        inode.change({ kind: 'write', offset, bytes: bytes.slice(0, Math.min(taken, room)) });
        if (fault?.kind === 'powerCut') this.#die();
        if (fault !== undefined && 'errno' in fault) throw refused('write', path, fault.errno);
        if (room < bytes.length) throw refused('write', path, 'ENOSPC');
      },
      read: (offset, length, into) => {
        begin('read');
        const bytes = inode.cached.read(offset, length);
        if (into === undefined || into.length < bytes.length) return bytes;
        into.set(bytes);
        return into.subarray(0, bytes.length);
      },
      size: () => {
        begin('size');
        return inode.cached.size;
      },
      truncate: (size) => {
        const fault = begin('truncate');
        inode.change({ kind: 'truncate', size });
        if (fault?.kind === 'powerCut') this.#die();
      },
      sync: () => {
        const fault = begin('sync');
        if (fault?.kind === 'dropPages') {
          inode.pending = [];
          throw refused('sync', path, fault.errno);
        }
        if (fault?.kind !== 'lie') inode.flush();
      },
      close: () => {
        if (isOpen) this.openFiles -= 1;
        isOpen = false;
      },
    };
  }

  /** How many bytes of a write fit on the disk. */
  #roomFor(inode: Inode, offset: number, length: number): number {
    if (this.capacityBytes === Infinity) return length;
    const grownMax = inode.cached.size + Math.max(0, this.capacityBytes - this.usedBytes);
    return Math.max(0, Math.min(length, grownMax - offset));
  }

  /** A file after a power cut. */
  #survivor(
    inode: Inode,
    random: Random,
    how: { readonly keepRatio: number; readonly mode: CrashMode },
  ): Inode {
    for (const change of inode.pending) {
      if (random.chance(how.keepRatio)) inode.durable.apply(change);
      else if (change.kind === 'write' && how.mode === 'any' && random.chance(0.5)) {
        this.#tear(inode.durable, change, random);
      }
    }
    return Inode.of(inode.durable.read(0, inode.durable.size));
  }

  /** Part of a write: a prefix, or any of its sectors, and then perhaps the whole size with zeros in place of the rest. */
  #tear(
    content: Content,
    write: { readonly offset: number; readonly bytes: Uint8Array },
    random: Random,
  ): void {
    const { offset, bytes } = write;
    if (random.chance(0.5)) {
      content.apply({ kind: 'write', offset, bytes: bytes.subarray(0, random.int(0, bytes.length)) });
    } else {
      for (let start = offset; start < offset + bytes.length;) {
        const end = Math.min(
          offset + bytes.length,
          (Math.floor(start / this.#sectorBytes) + 1) * this.#sectorBytes,
        );
        const sector = bytes.subarray(start - offset, end - offset);
        if (random.chance(0.5)) content.apply({ kind: 'write', offset: start, bytes: sector });
        start = end;
      }
    }
    if (random.chance(0.5)) content.resize(Math.max(content.size, offset + bytes.length));
  }

  #changeNames(changes: readonly NameChange[]): void {
    for (const { directory, name, node } of changes) setName(directory.cached, name, node);
    this.#pendingNames.push(changes);
  }

  *#inodes(directory: Directory = this.#root): IterableIterator<Inode> {
    for (const node of directory.cached.values()) {
      if (node instanceof Directory) yield* this.#inodes(node);
      else yield node;
    }
  }

  #node(path: string): Inode | Directory | undefined {
    let node: Inode | Directory | undefined = this.#root;
    for (const name of namesOf(path)) node = node instanceof Directory ? node.cached.get(name) : undefined;
    return node;
  }

  #inode(path: string, action: string): Inode {
    const node = this.#node(path);
    if (node === undefined) throw refused(action, path, 'ENOENT');
    if (node instanceof Directory) throw refused(action, path, 'EISDIR');
    return node;
  }

  #directory(path: string, action: string): Directory {
    const node = this.#node(path);
    if (node === undefined) throw refused(action, path, 'ENOENT');
    if (!(node instanceof Directory)) throw refused(action, path, 'ENOTDIR');
    return node;
  }

  #parent(path: string, action: string): { readonly directory: Directory; readonly name: string } {
    const names = namesOf(path);
    const name = names.pop();
    if (name === undefined) throw refused(action, path, 'EISDIR');
    return { directory: this.#directory(names.join('/'), action), name };
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function applyNames(changes: readonly NameChange[]): void {
  for (const { directory, name, node } of changes) setName(directory.durable, name, node);
}

function setName(
  names: Map<string, Inode | Directory>,
  name: string,
  node: Inode | Directory | undefined,
): void {
  if (node === undefined) names.delete(name);
  else names.set(name, node);
}

function refused(action: string, path: string, errno: Errno): StorageError {
  const cause = Object.assign(new Error(`${errno}: ${ERRNO_TEXT[errno]}`), { code: errno });
  return new StorageError(`Cannot ${action} "${path}": ${cause.message}`, { cause });
}
