/** How a checker ends a run: it throws, and the run turns it into a failure. */

/** The names under which violations of the core are reported; the numbers are those of the table of invariants. */
export type CoreInvariant =
  | 'I1 election safety'
  | 'I2 one vote'
  | 'I3 durable before reply'
  | 'I4 leader append-only'
  | 'I5 log matching'
  | 'I6 leader completeness'
  | 'I7 state machine safety'
  | 'I9 committed is durable'
  | 'I10 committed is immutable'
  | 'I11 order'
  | 'I12 monotonic'
  | 'I13 configuration safety'
  | 'I14 honest outcome'
  | 'I25 linearizable read'
  | 'I26 bounded messages'
  | 'I27 liveness'
  | 'I28 stable leadership'
  | 'I31 data is kept';

/** Something that must never happen has happened. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly invariant: CoreInvariant;

  constructor(invariant: CoreInvariant, message: string) {
    super(message);
    this.invariant = invariant;
  }
}

/** Ends the run with a violation. */
export function violated(invariant: CoreInvariant, message: string): never {
  throw new Violation(invariant, message);
}
