/** The number of a node, as people type it. */
import { LIMITS } from '../net/protocol.ts';
import { UsageError } from './failure.ts';

/** Reads `4` or `n4`. @param what names the command for the message */
export function nodeId(text: string, what: string): number {
  if (text === '')
    throw new UsageError(`"${what}" needs ID`, 'The number of a node, as "oxide-kv member list" shows it');
  const digits = /^n?([1-9]\d{0,9})$/.exec(text)?.[1];
  const id = Number(digits);
  if (digits !== undefined && id <= LIMITS.nodeIdMax) return id;
  throw new UsageError(
    `"${text}" is not the number of a node`,
    'Numbers begin with 1, as "oxide-kv member list" shows them',
  );
}
