/** Commands in a few words, for people. */
import { unreachable } from '../lib/assert.ts';
import { displayText, fromLatin1 } from '../lib/bytes.ts';
import { CorruptionError } from '../lib/errors.ts';
import { decodeCommand } from './command-codec.ts';
import type { KeyRange } from '../storage/version-engine.ts';
import type { Command } from './command.ts';
import { type Operation, singleKeyOf } from './operation.ts';

const CHARACTERS_MAX = 24;
/** UTF-8 takes at most four bytes a character, and a broken sequence of four still shows as at least one. */
const BYTES_A_CHARACTER = 4;

/**
 * A command in at most 24 characters: `x=5`, `del x`, `cas x 1→2` (`∅` for an absent key), `open session`; an operation as
 * `put x=5`, `del a..b`, `txn 1?2:0` (compares, steps of either branch), `revoke 7f3a`. Bytes that are no command give `unreadable`. The text is not sanitized: pass it through `sanitize` before it goes to a terminal.
 */
export function describeCommand(payload: Uint8Array): string {
  let command: Command;
  try {
    command = decodeCommand(payload);
  } catch (error) {
    if (error instanceof CorruptionError) return 'unreadable';
    throw error;
  }
  return describe(command);
}

function describe(command: Command): string {
  switch (command.kind) {
    case 'set': {
      const key = shorten(fromLatin1(command.key), 12);
      return `${key}=${shorten(command.value, CHARACTERS_MAX - 1 - Array.from(key).length)}`;
    }
    case 'delete':
      return `del ${shorten(fromLatin1(command.key), CHARACTERS_MAX - 4)}`;
    case 'cas': {
      const expected = command.expected === undefined ? '∅' : shorten(command.expected, 5);
      return `cas ${shorten(fromLatin1(command.key), 8)} ${expected}→${shorten(command.value, 5)}`;
    }
    case 'openSession':
      return 'open session';
    case 'operation':
      return describeOperation(command.operation);
    default:
      return unreachable(command);
  }
}

function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'put': {
      const key = shorten(fromLatin1(operation.key), 12);
      const value = operation.ignoreValue
        ? '…'
        : shorten(operation.value, CHARACTERS_MAX - 5 - Array.from(key).length);
      return `put ${key}=${value}`;
    }
    case 'deleteRange':
      return `del ${describeRange(operation.range)}`;
    case 'txn':
      return `txn ${operation.compares.length}?${operation.success.length}:${operation.failure.length}`;
    case 'compact':
      return `compact ${operation.revision}`.slice(0, CHARACTERS_MAX);
    case 'leaseGrant':
      return `lease ${hex(operation.id)}`;
    case 'leaseKeepAlive':
      return `renew ${hex(operation.id)}`;
    case 'leaseRevoke':
      return `revoke ${hex(operation.id)}`;
    case 'leaseCheckpoint':
      return `checkpoint ${operation.remaining.length} leases`;
    default:
      return unreachable(operation);
  }
}

function describeRange(range: KeyRange): string {
  const key = singleKeyOf(range);
  if (key !== undefined) return shorten(fromLatin1(key), CHARACTERS_MAX - 4);
  const end = range.end === undefined ? '' : shorten(fromLatin1(range.end), 9);
  return `${shorten(fromLatin1(range.start), 9)}..${end}`;
}

/** A lease id as etcd's tools show it. */
function hex(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}

/** The start of `bytes` as text of at most `charactersMax` characters, the last one `…` when something was left out. */
function shorten(bytes: Uint8Array, charactersMax: number): string {
  const characters = Array.from(displayText(bytes.subarray(0, (charactersMax + 1) * BYTES_A_CHARACTER)));
  if (characters.length <= charactersMax) return characters.join('');
  return `${characters.slice(0, charactersMax - 1).join('')}…`;
}
