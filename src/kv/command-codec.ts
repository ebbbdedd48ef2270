/**
 * The binary form of a command: the payload of a log entry, the same bytes on every replica and on disk.
 *
 *   size  field
 *   1     version and kind: 0x11 set, 0x12 delete, 0x13 cas, 0x14 openSession, 0x15 operation (high half: format version 1)
 *   1     flags: bit 0 a session follows, bit 1 (cas only) an expected value follows
 *   24    session id, seq, ackedBelow, each u64 little-endian; only with flag bit 0
 *   4     key length, u32 little-endian; set, delete and cas only
 *   n     key, one byte a character; set, delete and cas only
 *   4     length of the expected value, u32 little-endian; only with flag bit 1
 *   m     expected value; only with flag bit 1
 *   rest  value; set and cas only. The operation (operation-codec.ts); operation only. Nothing may follow the other kinds
 *
 * A command has exactly one such form.
 */
import { assert, unreachable } from '../lib/assert.ts';
import { latin1, readUint64, writeUint64 } from '../lib/bytes.ts';
import { CorruptionError, OxideError } from '../lib/errors.ts';
import type { Command, CommandSession } from './command.ts';
import { decodeOperation, encodeOperation } from './operation-codec.ts';
import type { Operation } from './operation.ts';

const CODE_SET = 0x11;
const CODE_DELETE = 0x12;
const CODE_CAS = 0x13;
const CODE_OPEN_SESSION = 0x14;
const CODE_OPERATION = 0x15;

const FLAG_SESSION = 1;
const FLAG_EXPECTED = 2;

const HEAD_BYTES = 2;
const SESSION_BYTES = 24;
const LENGTH_BYTES = 4;

const EMPTY = new Uint8Array(0);

/** Encodes a command, in memory of its own. The command's bytes are copied. Its integers must be safe, its key latin-1. */
export function encodeCommand(command: Command): Uint8Array {
  switch (command.kind) {
    case 'set':
      return encode(CODE_SET, command.session, command.key, undefined, command.value);
    case 'delete':
      return encode(CODE_DELETE, command.session, command.key, undefined, EMPTY);
    case 'cas':
      return encode(CODE_CAS, command.session, command.key, command.expected, command.value);
    case 'openSession':
      return Uint8Array.of(CODE_OPEN_SESSION, 0);
    case 'operation':
      return encodeWithOperation(command.operation, command.session);
    default:
      return unreachable(command);
  }
}

function encode(
  code: number,
  session: CommandSession | undefined,
  key: string,
  expected: Uint8Array | undefined,
  value: Uint8Array,
): Uint8Array {
  const sessionBytes = session === undefined ? 0 : SESSION_BYTES;
  const expectedBytes = expected === undefined ? 0 : LENGTH_BYTES + expected.length;
  const bytes = new Uint8Array(
    HEAD_BYTES + sessionBytes + LENGTH_BYTES + key.length + expectedBytes + value.length,
  );
  const view = new DataView(bytes.buffer);
  bytes[0] = code;
  bytes[1] = (session === undefined ? 0 : FLAG_SESSION) | (expected === undefined ? 0 : FLAG_EXPECTED);
  let offset = HEAD_BYTES;
  if (session !== undefined) {
    writeSession(view, offset, session);
    offset += SESSION_BYTES;
  }
  view.setUint32(offset, key.length, true);
  offset += LENGTH_BYTES;
  let seen = 0;
  for (let i = 0; i < key.length; i++) {
    const character = key.charCodeAt(i);
    seen |= character;
    bytes[offset + i] = character;
  }
  assert(seen <= 0xff, 'A key holds one byte a character');
  offset += key.length;
  if (expected !== undefined) {
    view.setUint32(offset, expected.length, true);
    bytes.set(expected, offset + LENGTH_BYTES);
    offset += expectedBytes;
  }
  bytes.set(value, offset);
  return bytes;
}

function encodeWithOperation(operation: Operation, session: CommandSession | undefined): Uint8Array {
  const encoded = encodeOperation(operation);
  const headBytes = HEAD_BYTES + (session === undefined ? 0 : SESSION_BYTES);
  const bytes = new Uint8Array(headBytes + encoded.length);
  bytes[0] = CODE_OPERATION;
  if (session !== undefined) {
    bytes[1] = FLAG_SESSION;
    writeSession(new DataView(bytes.buffer), HEAD_BYTES, session);
  }
  bytes.set(encoded, headBytes);
  return bytes;
}

function writeSession(view: DataView, offset: number, session: CommandSession): void {
  assert(session.id >= 1 && session.seq >= 1, 'Session id and seq start at 1');
  writeUint64(view, offset, session.id);
  writeUint64(view, offset + 8, session.seq);
  writeUint64(view, offset + 16, session.ackedBelow);
}

/**
 * Decodes a command. The values in it are views of `bytes`, which must not change while they are in use; they keep the
 * whole buffer under `bytes` alive, so what is to stay must be copied.
 *
 * @throws CorruptionError when the bytes are not a command. A committed entry that one replica cannot read must stop
 *   that replica: to skip it would make the replicas differ
 */
export function decodeCommand(bytes: Uint8Array): Command {
  if (bytes.length < HEAD_BYTES) throw refused(`${bytes.length} bytes, expected at least ${HEAD_BYTES}`);
  const code = bytes[0] ?? 0;
  const flags = bytes[1] ?? 0;
  if (code < CODE_SET || code > CODE_OPERATION) {
    throw refused(`version and kind is 0x${code.toString(16).padStart(2, '0')}, expected 0x11 to 0x15`);
  }
  const known =
    code === CODE_OPEN_SESSION ? 0 : code === CODE_CAS ? FLAG_SESSION | FLAG_EXPECTED : FLAG_SESSION;
  if ((flags & ~known) !== 0)
    throw refused(`flags are 0x${flags.toString(16)}, expected none but 0x${known.toString(16)}`);
  if (code === CODE_OPEN_SESSION) {
    if (bytes.length > HEAD_BYTES) throw refused('bytes after its end');
    return { kind: 'openSession' };
  }
  return code === CODE_OPERATION
    ? decodeWithOperation(bytes, (flags & FLAG_SESSION) !== 0)
    : decodeKeyed(bytes, code, flags);
}

function decodeWithOperation(bytes: Uint8Array, hasSession: boolean): Command {
  if (!hasSession) return { kind: 'operation', operation: operationAt(bytes, HEAD_BYTES) };
  const session = readSession(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), HEAD_BYTES);
  return { kind: 'operation', operation: operationAt(bytes, HEAD_BYTES + SESSION_BYTES), session };
}

function operationAt(bytes: Uint8Array, offset: number): Operation {
  try {
    return decodeOperation(bytes, offset);
  } catch (error) {
    if (!(error instanceof OxideError)) throw error;
    throw new CorruptionError(error.message, { cause: error });
  }
}

function decodeKeyed(bytes: Uint8Array, code: number, flags: number): Command {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let offset = HEAD_BYTES;
  let session: CommandSession | undefined;
  if ((flags & FLAG_SESSION) !== 0) {
    session = readSession(view, offset);
    offset += SESSION_BYTES;
  }
  const keyEnd = fieldEnd(view, offset);
  const key = latin1(bytes.subarray(offset + LENGTH_BYTES, keyEnd));
  offset = keyEnd;
  if (code === CODE_DELETE) {
    if (offset < bytes.length) throw refused('bytes after its end');
    return session === undefined ? { kind: 'delete', key } : { kind: 'delete', key, session };
  }
  let expected: Uint8Array | undefined;
  if ((flags & FLAG_EXPECTED) !== 0) {
    const expectedEnd = fieldEnd(view, offset);
    expected = bytes.subarray(offset + LENGTH_BYTES, expectedEnd);
    offset = expectedEnd;
  }
  const value = bytes.subarray(offset);
  if (code === CODE_SET)
    return session === undefined ? { kind: 'set', key, value } : { kind: 'set', key, value, session };
  return session === undefined
    ? { kind: 'cas', key, expected, value }
    : { kind: 'cas', key, expected, value, session };
}

function readSession(view: DataView, offset: number): CommandSession {
  if (offset + SESSION_BYTES > view.byteLength) throw refused('cut short within its session');
  const id = readUint64(view, offset);
  const seq = readUint64(view, offset + 8);
  const ackedBelow = readUint64(view, offset + 16);
  const isSafe = Number.isSafeInteger(id) && Number.isSafeInteger(seq) && Number.isSafeInteger(ackedBelow);
  if (!isSafe || id < 1 || seq < 1) throw refused('session numbers out of range');
  return { id, seq, ackedBelow };
}

/** Where the length-prefixed field at `offset` ends. */
function fieldEnd(view: DataView, offset: number): number {
  if (offset + LENGTH_BYTES > view.byteLength) throw refused('cut short before a length');
  const end = offset + LENGTH_BYTES + view.getUint32(offset, true);
  if (end > view.byteLength) throw refused('cut short within a field');
  return end;
}

function refused(state: string): CorruptionError {
  return new CorruptionError(`Cannot decode command: ${state}`);
}
