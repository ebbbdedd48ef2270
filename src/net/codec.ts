/**
 * What nodes and clients say to each other, as frames (frame.ts has the layout). Fixed structures: every message is a
 * code and then its fields in one order. Everything that arrives is checked, field by field: a frame with one thing wrong
 * is refused whole.
 *
 * An encoded frame owns its memory. A decoded one does not: its byte strings and entries are views of the frame, which
 * must not change while they are in use, and which they keep alive. What is to stay must be copied.
 */
import { unreachable } from '../lib/assert.ts';
import { decodeEntries } from '../raft/entry.ts';
import { decodeConfig, encodeConfig } from '../raft/membership.ts';
import type { LogPosition, Message } from '../raft/messages.ts';
import type { Field } from './frame.ts';
import { FrameReader, FrameWriter, NumberedNames, TEXT_CHARS_MAX } from './frame.ts';
import type { Envelope, Reply, Request, SnapshotOutcome } from './protocol.ts';
import { LIMITS } from './protocol.ts';
import { ENGINES } from './engine-fields.ts';
import { readReply, replyFields } from './reply-fields.ts';
import { readRequest, requestFields } from './request-fields.ts';

/* What a frame holds: the high half is the version of the format. */
const FRAME_ENVELOPES = 0x11;
const FRAME_REQUESTS = 0x12;
const FRAME_REPLIES = 0x13;

const VOTE = 1;
const VOTE_REPLY = 2;
const APPEND = 3;
const APPEND_REPLY = 4;
const APPEND_REJECT = 5;
const HEARTBEAT = 6;
const HEARTBEAT_REPLY = 7;
const HELLO = 8;
const SNAPSHOT_PART = 9;
const SNAPSHOT_ACK = 10;
const FORWARD = 11;
const FORWARDED = 12;
const TIMEOUT_NOW = 13;
const READ_REQUEST = 14;
const READ_REPLY = 15;
const TRANSFER_VOTE = 16;
const QUIESCE = 17;
const REFUSAL = 18;
const SNAPSHOT_END = 20;
const REBASE = 21;
const APPEND_REJECT_LOST = 22;

/** Founders that a hello may name. */
const FOUNDERS_MAX = 1_000;

const CRC_MAX = 0xffff_ffff;
/** A configuration: its addresses are most of it. */
const CONFIG_BYTES_MAX = 65_536;

const SNAPSHOT_OUTCOMES = new NumberedNames<SnapshotOutcome>({
  installed: 1,
  deposed: 2,
  tooLarge: 3,
  damaged: 4,
  unreadable: 5,
});

/** A client's request on its way to a node. `id` is the client's own, 0 and up; the reply carries it back. */
export interface RequestItem {
  readonly id: number;
  readonly request: Request;
}

/** The reply to the request of the same `id`. */
export interface ReplyItem {
  readonly id: number;
  readonly reply: Reply;
}

/** Encodes what one node sends another, in an ArrayBuffer of its own. */
export function encodeFrame(envelopes: readonly Envelope[]): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  for (const envelope of envelopes) writer.add(envelopeFields(envelope, writer));
  return writer.finish(FRAME_ENVELOPES);
}

/** Decodes what {@link encodeFrame} made; undefined for anything else. Never throws. The result holds views of `bytes`. */
export function decodeFrame(bytes: Uint8Array): readonly Envelope[] | undefined {
  return decodeAll(bytes, FRAME_ENVELOPES, readEnvelope);
}

/** Encodes what a client asks a node, in an ArrayBuffer of its own. */
export function encodeRequests(items: readonly RequestItem[]): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  for (const { id, request } of items) writer.add([id, ...requestFields(request, writer)]);
  return writer.finish(FRAME_REQUESTS);
}

/** Decodes what {@link encodeRequests} made; undefined for anything else. Never throws. The result holds views of `bytes`. */
export function decodeRequests(bytes: Uint8Array): readonly RequestItem[] | undefined {
  return decodeAll(bytes, FRAME_REQUESTS, (reader) => {
    const id = reader.integer();
    const request = readRequest(reader);
    return request === undefined ? undefined : { id, request };
  });
}

/** Encodes what a node answers a client, in an ArrayBuffer of its own. */
export function encodeReplies(items: readonly ReplyItem[]): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  for (const { id, reply } of items) writer.add([id, ...replyFields(reply, writer)]);
  return writer.finish(FRAME_REPLIES);
}

/** Decodes what {@link encodeReplies} made; undefined for anything else. Never throws. The result holds views of `bytes`. */
export function decodeReplies(bytes: Uint8Array): readonly ReplyItem[] | undefined {
  return decodeAll(bytes, FRAME_REPLIES, (reader) => {
    const id = reader.integer();
    const reply = readReply(reader);
    return reply === undefined ? undefined : { id, reply };
  });
}

/** All messages of a frame, or undefined when any of them is not what it had to be. */
function decodeAll<T>(
  bytes: Uint8Array,
  kind: number,
  read: (reader: FrameReader) => T | undefined,
): readonly T[] | undefined {
  const reader = FrameReader.open(bytes, kind);
  if (reader === undefined) return undefined;
  const items: T[] = [];
  while (reader.next()) {
    const item = read(reader);
    if (item === undefined || !reader.isMessageDone) return undefined;
    items.push(item);
  }
  return reader.isFrameDone ? items : undefined;
}

function envelopeFields(envelope: Envelope, writer: FrameWriter): readonly Field[] {
  switch (envelope.kind) {
    case 'raft':
      return messageFields(envelope.message, writer);
    case 'hello': {
      const { cluster, founders, incarnation, since, client, greeted, settled } = envelope;
      const fields: Field[] = [HELLO, writer.text(cluster), founders.length, ...founders];
      fields.push(writer.text(incarnation), since, writer.text(client), greeted, settled);
      return fields;
    }
    case 'refusal':
      return [REFUSAL, envelope.why.slice(0, TEXT_CHARS_MAX), envelope.index];
    case 'snapshotPart': {
      const { term, transfer, position, totalBytes, crc32, offset, partCrc32 } = envelope;
      const engine = ENGINES.numberOf(envelope.engine);
      const whole = [position.index, position.term, engine, totalBytes, crc32];
      return [SNAPSHOT_PART, term, transfer, ...whole, offset, partCrc32, writer.bytes(envelope.bytes)];
    }
    case 'snapshotAck': {
      const { term, transfer, offset, windowBytes, partOffset, partBytes } = envelope;
      return [SNAPSHOT_ACK, term, transfer, offset, windowBytes, partOffset, partBytes];
    }
    case 'snapshotEnd': {
      const { term, transfer, outcome } = envelope;
      return [SNAPSHOT_END, term, transfer, SNAPSHOT_OUTCOMES.numberOf(outcome)];
    }
    case 'forward':
      return [FORWARD, envelope.id, ...requestFields(envelope.request, writer)];
    case 'forwarded':
      return [FORWARDED, envelope.id, ...replyFields(envelope.reply, writer)];
    default:
      return unreachable(envelope);
  }
}

function messageFields(message: Message, writer: FrameWriter): readonly Field[] {
  const { from, to, term } = message;
  switch (message.kind) {
    case 'vote': {
      const { pre, last, transfer } = message;
      if (transfer === undefined) return [VOTE, from, to, term, pre, last.index, last.term];
      return [TRANSFER_VOTE, from, to, term, pre, last.index, last.term, transfer.term, transfer.round];
    }
    case 'voteReply':
      return [VOTE_REPLY, from, to, term, message.pre, message.granted];
    case 'append': {
      const { prev, entries, commit, round } = message;
      // The bytes of `encodeEntries`, laid out without joining them first.
      let bytes = 0;
      for (const entry of entries) bytes += writer.bytes(entry.encoded);
      return [APPEND, from, to, term, prev.index, prev.term, commit, round, bytes];
    }
    case 'rebase': {
      const { position, config, round } = message;
      return [
        REBASE,
        from,
        to,
        term,
        position.index,
        position.term,
        round,
        writer.bytes(encodeConfig(config)),
      ];
    }
    case 'appendReply':
      return [APPEND_REPLY, from, to, term, message.match, message.round];
    case 'appendReject': {
      const { rejected, hint, round } = message;
      const kind = message.lost === true ? APPEND_REJECT_LOST : APPEND_REJECT;
      return [kind, from, to, term, rejected, hint.index, hint.term, round];
    }
    case 'heartbeat':
      return [message.quiesce === true ? QUIESCE : HEARTBEAT, from, to, term, message.commit, message.round];
    case 'heartbeatReply':
      return [HEARTBEAT_REPLY, from, to, term, message.round];
    case 'timeoutNow':
      return [TIMEOUT_NOW, from, to, term, message.round];
    case 'readRequest':
      return [READ_REQUEST, from, to, term, message.id];
    case 'readReply':
      return [READ_REPLY, from, to, term, message.id, message.index];
    default:
      return unreachable(message);
  }
}

function readEnvelope(reader: FrameReader): Envelope | undefined {
  const code = reader.integer();
  switch (code) {
    case HELLO:
      return readHello(reader);
    case REFUSAL:
      return { kind: 'refusal', why: reader.text(), index: reader.integer() };
    case SNAPSHOT_PART:
      return readSnapshotPart(reader);
    case SNAPSHOT_ACK:
      return {
        kind: 'snapshotAck',
        term: reader.integer(),
        transfer: reader.integer(),
        offset: reader.integer(),
        windowBytes: reader.integer(),
        partOffset: reader.integer(),
        partBytes: reader.integer(),
      };
    case SNAPSHOT_END: {
      const term = reader.integer();
      const transfer = reader.integer();
      return { kind: 'snapshotEnd', term, transfer, outcome: reader.name(SNAPSHOT_OUTCOMES) };
    }
    case FORWARD: {
      const id = reader.integer();
      const request = readRequest(reader);
      return request === undefined ? undefined : { kind: 'forward', id, request };
    }
    case FORWARDED: {
      const id = reader.integer();
      const reply = readReply(reader);
      return reply === undefined ? undefined : { kind: 'forwarded', id, reply };
    }
    default: {
      const message = readMessage(reader, code);
      return message === undefined ? undefined : { kind: 'raft', message };
    }
  }
}

function readHello(reader: FrameReader): Envelope {
  const cluster = reader.text();
  const count = reader.integer(0, FOUNDERS_MAX);
  const founders: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) founders.push(reader.integer(1));
  return {
    kind: 'hello',
    cluster,
    founders,
    incarnation: reader.text(),
    since: reader.integer(),
    client: reader.text(),
    greeted: reader.flag(),
    settled: reader.flag(),
  };
}

function readMessage(reader: FrameReader, code: number): Message | undefined {
  const header = { from: reader.integer(1), to: reader.integer(1), term: reader.integer() };
  switch (code) {
    case VOTE:
      return { kind: 'vote', ...header, pre: reader.flag(), last: readPosition(reader) };
    case TRANSFER_VOTE: {
      const pre = reader.flag();
      const last = readPosition(reader);
      const transfer = { term: reader.integer(), round: reader.integer() };
      return { kind: 'vote', ...header, pre, last, transfer };
    }
    case VOTE_REPLY:
      return { kind: 'voteReply', ...header, pre: reader.flag(), granted: reader.flag() };
    case APPEND: {
      const prev = readPosition(reader);
      const commit = reader.integer();
      const round = reader.integer();
      const entries = decodeEntries(reader.bytes(Number.MAX_SAFE_INTEGER));
      if (entries === undefined) return undefined;
      const [first] = entries;
      if (first !== undefined && first.index !== prev.index + 1) return undefined;
      return { kind: 'append', ...header, prev, entries, commit, round };
    }
    case REBASE: {
      const position = readPosition(reader);
      const round = reader.integer();
      const config = decodeConfig(reader.bytes(CONFIG_BYTES_MAX));
      return config === undefined ? undefined : { kind: 'rebase', ...header, position, config, round };
    }
    case APPEND_REPLY:
      return { kind: 'appendReply', ...header, match: reader.integer(), round: reader.integer() };
    case APPEND_REJECT:
    case APPEND_REJECT_LOST: {
      const rejected = reader.integer();
      const hint = readPosition(reader);
      const reject = { kind: 'appendReject', ...header, rejected, hint, round: reader.integer() } as const;
      return code === APPEND_REJECT ? reject : { ...reject, lost: true };
    }
    case HEARTBEAT:
      return { kind: 'heartbeat', ...header, commit: reader.integer(), round: reader.integer() };
    case HEARTBEAT_REPLY:
      return { kind: 'heartbeatReply', ...header, round: reader.integer() };
    case QUIESCE: {
      const commit = reader.integer();
      return { kind: 'heartbeat', ...header, commit, round: reader.integer(), quiesce: true };
    }
    case TIMEOUT_NOW:
      return { kind: 'timeoutNow', ...header, round: reader.integer() };
    case READ_REQUEST:
      return { kind: 'readRequest', ...header, id: reader.integer() };
    case READ_REPLY:
      return { kind: 'readReply', ...header, id: reader.integer(), index: reader.integer() };
    default:
      return undefined;
  }
}

/** A snapshot that is too large is read all the same: its receiver refuses it in words. */
function readSnapshotPart(reader: FrameReader): Envelope | undefined {
  const term = reader.integer();
  const transfer = reader.integer();
  const position = readPosition(reader);
  const engine = reader.name(ENGINES);
  const totalBytes = reader.integer();
  const crc32 = reader.integer(0, CRC_MAX);
  const offset = reader.integer(0, totalBytes);
  const partCrc32 = reader.integer(0, CRC_MAX);
  const bytes = reader.bytes(Math.min(LIMITS.snapshotPartBytesMax, totalBytes - offset));
  return {
    kind: 'snapshotPart',
    term,
    transfer,
    position,
    engine,
    totalBytes,
    crc32,
    offset,
    partCrc32,
    bytes,
  };
}

function readPosition(reader: FrameReader): LogPosition {
  return { index: reader.integer(), term: reader.integer() };
}
