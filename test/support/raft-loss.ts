/** What the disk of a simulated replica has lost of its log, and whether it is still missing, counted from the disk alone. */
import type { LogIndex } from '../../src/raft/entry.ts';
import type { HardState, LostLog } from '../../src/raft/messages.ts';
import type { HashedLog, HashedPosition } from './hashed-log.ts';

export class Loss {
  /** As the core is told. */
  readonly told: LostLog;
  readonly #log: HashedLog;
  /** The end of the log as it was. */
  readonly #last: HashedPosition;

  /** Loses what lies behind `after`. @param isEndKnown whether the disk can tell how far the log went */
  constructor(
    disk: { readonly hard: HardState; readonly log: HashedLog },
    after: LogIndex,
    isEndKnown: boolean,
  ) {
    this.#log = disk.log;
    this.#last = disk.log.last;
    this.told = { index: isEndKnown ? this.#last.index : Infinity, term: disk.hard.term };
    disk.log.cut(after);
  }

  get isMissing(): boolean {
    const { base, last } = this.#log;
    const { index, hash } = this.#last;
    return base.index < index && this.#log.hashAt(index) !== hash && last.term <= this.told.term;
  }
}
