/** What a run can find: the names of the invariants, and the error that says which one did not hold. */

/** Short names as tables and failures print them; the numbers are those of the test plan. */
export type InvariantName =
  | 'I1 election safety'
  | 'I2 one vote a term'
  | 'I3 durable before reply'
  | 'I4 leader append-only'
  | 'I5 log matching'
  | 'I6 leader completeness'
  | 'I7 state machine safety'
  | 'I8 equal states'
  | 'I9 committed is durable'
  | 'I10 committed is immutable'
  | 'I11 order'
  | 'I12 monotonic'
  | 'I13 configuration safety'
  | 'I18 exactly once'
  | 'I19 durability'
  | 'I25 fresh reads'
  | 'I26 bounded traffic'
  | 'I27 liveness'
  | 'I28 availability'
  | 'I30 assertion'
  | 'I30 classified errors'
  | 'I30 one answer';

/** A run found something. It is thrown, so that a run ends at the first. */
export class InvariantViolation extends Error {
  override readonly name = 'InvariantViolation';
  readonly invariant: InvariantName;

  /** @param detail what was seen, in one sentence without a period */
  constructor(invariant: InvariantName, detail: string) {
    super(detail);
    this.invariant = invariant;
  }
}

/** Throws the violation. */
export function fail(invariant: InvariantName, detail: string): never {
  throw new InvariantViolation(invariant, detail);
}
