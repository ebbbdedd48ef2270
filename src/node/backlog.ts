/** Committed entries on their way into the state machine: applied behind the acknowledgements that others wait for. */
import type { StateMachine } from '../kv/state-machine.ts';
import type { Entry, LogIndex } from '../raft/entry.ts';
import type { Requests } from './requests.ts';
import type { WriteGate } from './write-gate.ts';

/** Entries that the state machine has not seen yet. Empty between turns. */
export class Backlog {
  readonly #machine: StateMachine;
  readonly #requests: Requests;
  readonly #gate: WriteGate;
  #entries: Entry[] = [];

  /** @param requests gets the result of each command; @param gate is told how many bytes each has */
  constructor(machine: StateMachine, requests: Requests, gate: WriteGate) {
    this.#machine = machine;
    this.#requests = requests;
    this.#gate = gate;
  }

  /** Entries in the order of the log. */
  add(entries: readonly Entry[]): void {
    for (const entry of entries) this.#entries.push(entry);
  }

  /** @returns where the machine is now; undefined when there was nothing to apply. Throws what the engine throws. */
  apply(): LogIndex | undefined {
    if (this.#entries.length === 0) return undefined;
    for (const { kind, index, payload } of this.#entries) {
      // What a snapshot brought is applied already.
      if (index <= this.#machine.applied) continue;
      this.#gate.applied(payload.length);
      if (kind !== 'command') this.#machine.noop(index);
      else this.#requests.applied(index, this.#machine.apply(index, payload));
    }
    this.#entries = [];
    return this.#machine.applied;
  }

  /** They may lie behind a snapshot that could not be installed. */
  clear(): void {
    this.#entries = [];
  }
}
