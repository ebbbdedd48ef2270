/**
 * What the witnesses of a run do without: the commands that their stubs stand for. Their modelled disks hold the commands, so
 * that whole logs and states are compared with those of everybody else; what a core is given, and gives, are stubs.
 */
import { defined } from '../../lib/assert.ts';
import { type Entry, stubsOf } from '../../raft/entry.ts';
import type { Write } from '../../raft/messages.ts';
import type { SimNode } from './node.ts';
import { violated } from './violation.ts';

export class Stubs {
  /** Every command that a core has written, by its position. */
  readonly #commands: Map<string, Entry> = new Map();

  /** A write as it is modelled. @throws Violation when the core is to keep something else than its kind of node does */
  write(node: SimNode, write: Write): Write {
    const { append } = write;
    if (append === undefined) return write;
    for (const entry of append.entries) {
      if (entry.kind === (node.isWitness ? 'command' : 'stub'))
        violated(
          'I31 data is kept',
          `n${node.id}, ${node.isWitness ? 'a witness' : 'no witness'}, keeps entry ${entry.index} as a ${entry.kind}`,
        );
      if (entry.kind === 'command') this.#commands.set(key(entry), entry);
    }
    return node.isWitness ? { ...write, append: { ...append, entries: this.filled(append.entries) } } : write;
  }

  /** The same entries with the commands that stubs stand for. */
  filled(entries: readonly Entry[]): readonly Entry[] {
    return entries.map((entry) =>
      entry.kind === 'stub' ? defined(this.#commands.get(key(entry)), 'what a stub stands for') : entry,
    );
  }

  /** What the disk of a node gives back to its core. */
  given(node: SimNode, entries: readonly Entry[]): readonly Entry[] {
    return node.isWitness ? stubsOf(entries, Infinity) : entries;
  }
}

function key({ index, term }: Entry): string {
  return `${index}@${term}`;
}
