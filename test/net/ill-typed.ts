/** Says whether what a decoder made of any bytes is of the types that it promises, as far as numbers go. */
import { makeEntry } from '../../src/raft/entry.ts';

/** Names of number fields that may be any number; all others are safe non-negative integers. */
const ANY_NUMBER = new Set(['deadlineMs']);

const ENTRY_PROTOTYPE: unknown = Object.getPrototypeOf(
  makeEntry({ term: 1, index: 1, kind: 'noop', payload: new Uint8Array(0) }),
);

/** What is wrong with the types in a decoded value, if anything. */
export function illTyped(value: unknown, name = ''): string | undefined {
  if (typeof value === 'number') {
    if (ANY_NUMBER.has(name) ? !Number.isNaN(value) : Number.isSafeInteger(value) && value >= 0)
      return undefined;
    return `${name} is ${value}`;
  }
  if (typeof value === 'string' || typeof value === 'boolean' || value === undefined) return undefined;
  if (value instanceof Uint8Array) return undefined;
  if (typeof value !== 'object' || value === null) return `${name} is a ${typeof value}`;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Entries are made by raft/entry.ts, from bytes that it has checked.
  if (prototype === ENTRY_PROTOTYPE) return undefined;
  if (value instanceof Map) return illTyped([...value], name);
  if (prototype !== Object.prototype && prototype !== Array.prototype)
    return `${name} has a strange prototype`;
  for (const [key, child] of Object.entries(value)) {
    const wrong = illTyped(child, key);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
