/**
 * The keys in a data directory, without a node: its newest checkpoint, and behind it the entries of the log that were known
 * to be committed. All of it happens on an overlay, so that nothing is written.
 */
import { prefixEnd } from '../lib/bytes.ts';
import { StorageError } from '../lib/errors.ts';
import { withCounters } from '../kv/legacy-state.ts';
import { StateMachine } from '../kv/state-machine.ts';
import type { Entry } from '../raft/entry.ts';
import type { FileSystem } from '../storage/fs.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { openStore } from '../storage/open-store.ts';
import { OverlayFileSystem } from '../storage/overlay.ts';
import type { EngineKind, Version } from '../storage/version-engine.ts';
import { Findings } from './findings.ts';
import { inspectLog } from './inspect-log.ts';

/** The newest rows. */
export interface StoredRows {
  /** Everything up to this entry is in them; a running cluster may have committed more. */
  readonly index: number;
  readonly revision: number;
  /** In key order, read as they are asked for. */
  readonly rows: IterableIterator<Version>;
  /** Ends the reading. */
  close(): void;
}

/**
 * Opens the rows of a directory whose keys begin with `prefix`, a latin-1 string.
 *
 * @throws CorruptionError when checkpoint or log are damaged or do not fit together, StorageError when they cannot be read
 */
export function openRows(options: {
  readonly fs?: FileSystem;
  readonly path: string;
  readonly engine: EngineKind;
  readonly prefix: string;
}): StoredRows {
  const { path, engine, prefix } = options;
  const fs = new OverlayFileSystem(options.fs ?? new NodeFileSystem());
  const store = openStore({ fs, directory: path, choice: { kind: engine } });
  try {
    const machine = new StateMachine(store.engine);
    const { newest } = store;
    if (newest !== undefined) {
      const { index } = newest.meta;
      machine.restore(index, withCounters(index, store.engine, newest.state));
    }
    applyCommitted(machine, readEntries(fs, path));
    const { applied: index, revision } = machine;
    const range = { start: prefix, end: prefixEnd(prefix) };
    return { index, revision, rows: store.engine.scan(range, revision), close: () => store.close() };
  } catch (error) {
    store.close();
    throw error;
  }
}

function readEntries(
  fs: FileSystem,
  path: string,
): { readonly entries: readonly Entry[]; readonly commit: number } {
  const findings = new Findings();
  const work = inspectLog(fs, path, findings);
  for (;;) {
    const step = work.next();
    if (step.done !== true) continue;
    const [finding] = findings.list;
    if (finding !== undefined)
      throw new StorageError(`Cannot read keys of "${path}": ${finding.file}: ${finding.message}`);
    const { entries, hard } = step.value.replay;
    return { entries, commit: hard.commit };
  }
}

function applyCommitted(
  machine: StateMachine,
  log: { readonly entries: readonly Entry[]; readonly commit: number },
): void {
  for (const { kind, index, payload } of log.entries) {
    if (index <= machine.applied) continue;
    if (index > log.commit) return;
    if (index !== machine.applied + 1)
      throw new StorageError(`Cannot read keys: the log has no entry ${machine.applied + 1}`);
    if (kind === 'command') machine.apply(index, payload);
    else machine.noop(index);
  }
}
