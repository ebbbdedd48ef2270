/**
 * What witnesses of a test network do without: the commands that their stubs stand for, and the states that they begin with.
 * A network remembers both of those who keep data, so that all logs and disks can be compared.
 */
import { defined } from '../../src/lib/assert.ts';
import type { Entry } from '../../src/raft/entry.ts';
import type { LogPosition, Write } from '../../src/raft/messages.ts';
import type { Snapshot } from './raft-network.ts';

export class Stubs {
  readonly #commands: Map<string, Entry> = new Map();
  readonly #snapshots: Map<string, Snapshot> = new Map();

  /** Somebody has written these, as they are. */
  note(entries: readonly Entry[]): void {
    for (const entry of entries) if (entry.kind === 'command') this.#commands.set(key(entry), entry);
  }

  /** Somebody has taken a snapshot. */
  keep(snapshot: Snapshot): void {
    this.#snapshots.set(key(snapshot.position), snapshot);
  }

  /** The same entries with the commands that stubs stand for. */
  filled(entries: readonly Entry[]): readonly Entry[] {
    return entries.map((entry) =>
      entry.kind === 'stub' ? defined(this.#commands.get(key(entry)), 'what a stub stands for') : entry,
    );
  }

  /** The same for a write. */
  filledWrite(write: Write): Write {
    const { append } = write;
    return append === undefined
      ? write
      : { ...write, append: { ...append, entries: this.filled(append.entries) } };
  }

  /** What a witness would hold that begins behind `position`. */
  beginning(position: LogPosition): Snapshot {
    return defined(this.#snapshots.get(key(position)), 'a snapshot where a witness begins');
  }
}

function key({ index, term }: LogPosition): string {
  return `${index}@${term}`;
}
