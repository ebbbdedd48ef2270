/** Assertions that stay on in production. They catch bugs; they never judge input from outside. */

/** A broken invariant: the program is wrong, and the node that threw it must stop. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws an {@link AssertionError} unless `condition` holds. One condition a call, so that the message tells which. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Ends an exhaustive switch: the compiler refuses the call while a variant is left unhandled. */
export function unreachable(value: never): never {
  throw new AssertionError(`Unreachable variant: ${JSON.stringify(value)}`);
}

/** The element at `index`, which must exist. */
export function at<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index];
  assert(value !== undefined, 'Index out of range');
  return value;
}

/** `value`, which must be present. `what` names it in the message. */
export function defined<T>(value: T | undefined, what: string): T {
  assert(value !== undefined, `Missing ${what}`);
  return value;
}
