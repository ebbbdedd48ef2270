/** How replies, and the status inside one of them, are laid out as fields of a frame: a code, then what the variant needs. */
import { unreachable } from '../lib/assert.ts';
import { textOf, utf8 } from '../lib/bytes.ts';
import type { ErrorCode } from '../lib/errors.ts';
import { type Config, bootstrapConfig, configOf, plainConfig } from '../raft/membership.ts';
import type { PeerProgress, ProgressMode, Role } from '../raft/messages.ts';
import { engineFields, readEngine } from './engine-fields.ts';
import type { Field, FrameReader, FrameWriter } from './frame.ts';
import { NumberedNames, TEXT_CHARS_MAX } from './frame.ts';
import type { KeyValue, LeaderHint, MemberStanding, MemberStatus, NodeStatus, Reply } from './protocol.ts';
import { LIMITS } from './protocol.ts';

const OK = 1;
const OK_EXISTED = 2;
const VALUE = 3;
const ABSENT = 4;
const ROWS = 5;
const SESSION = 6;
const STATUS = 7;
const MISMATCH_VALUE = 8;
const MISMATCH_ABSENT = 9;
const ERROR = 10;
const LEADER = 11;
const RESULT = 12;

/** Peers and votes a status may list: more than any cluster has members. */
const MEMBERS_MAX = 1_000;
const CONFIG_BYTES_MAX = 65_536;

const ERROR_CODES = new NumberedNames<ErrorCode>({
  bad_request: 1,
  too_large: 2,
  not_leader: 3,
  unavailable: 4,
  overloaded: 5,
  compare_failed: 6,
  session_expired: 7,
  storage_failed: 8,
  closed: 9,
  unknown: 10,
  already_member: 11,
  not_member: 12,
  cannot_remove_last_server: 13,
  too_many_members: 14,
  change_pending: 15,
  storage_full: 16,
});
const ROLES = new NumberedNames<Role>({ follower: 1, preCandidate: 2, candidate: 3, leader: 4 });
const MODES = new NumberedNames<ProgressMode>({ probe: 1, replicate: 2, snapshot: 3 });
const STANDINGS = new NumberedNames<MemberStanding>({
  voter: 1,
  learner: 2,
  promoting: 3,
  joining: 4,
  leaving: 5,
  witness: 6,
});
const STORAGE = new NumberedNames<NodeStatus['storage']>({ ok: 1, failed: 2, full: 3 });

/** The fields of a reply. Its byte strings go to `writer`. */
export function replyFields(reply: Reply, writer: FrameWriter): readonly Field[] {
  switch (reply.kind) {
    case 'ok':
      return reply.existed === undefined ? [OK, reply.index] : [OK_EXISTED, reply.index, reply.existed];
    case 'value':
      return reply.value === undefined ? [ABSENT] : [VALUE, writer.bytes(reply.value)];
    case 'rows': {
      const fields: Field[] = [ROWS, reply.more, reply.rows.length];
      for (const { key, value } of reply.rows) fields.push(writer.bytes(key), writer.bytes(value));
      return fields;
    }
    case 'session':
      return [SESSION, reply.id];
    case 'result':
      return [RESULT, reply.index, writer.bytes(reply.result)];
    case 'leader':
      return [LEADER, reply.leader];
    case 'status':
      return [STATUS, ...statusFields(reply.status, writer)];
    case 'mismatch':
      return reply.actual === undefined
        ? [MISMATCH_ABSENT, reply.index]
        : [MISMATCH_VALUE, reply.index, writer.bytes(reply.actual)];
    case 'error': {
      // Only a message for people may be cut: nothing is decided by it.
      const message = reply.message.slice(0, TEXT_CHARS_MAX);
      return [ERROR, ERROR_CODES.numberOf(reply.code), message, ...hintFields(reply.leader, writer)];
    }
    default:
      return unreachable(reply);
  }
}

/** Reads a reply; undefined when its code is unknown. Its byte strings are views of the frame. */
export function readReply(reader: FrameReader): Reply | undefined {
  switch (reader.integer()) {
    case OK:
      return { kind: 'ok', index: reader.integer() };
    case OK_EXISTED:
      return { kind: 'ok', index: reader.integer(), existed: reader.flag() };
    case VALUE:
      return { kind: 'value', value: reader.bytes(LIMITS.valueBytesMax) };
    case ABSENT:
      return { kind: 'value', value: undefined };
    case ROWS:
      return readRows(reader);
    case SESSION:
      return { kind: 'session', id: reader.integer(1) };
    case RESULT:
      return { kind: 'result', index: reader.integer(), result: reader.bytes(LIMITS.resultBytesMax) };
    case LEADER:
      return { kind: 'leader', leader: reader.integer(1) };
    case STATUS:
      return { kind: 'status', status: readStatus(reader) };
    case MISMATCH_VALUE:
      return { kind: 'mismatch', index: reader.integer(), actual: reader.bytes(LIMITS.valueBytesMax) };
    case MISMATCH_ABSENT:
      return { kind: 'mismatch', index: reader.integer(), actual: undefined };
    case ERROR: {
      const code = reader.name(ERROR_CODES);
      const message = reader.text();
      const leader = readHint(reader);
      return leader === undefined
        ? { kind: 'error', code, message }
        : { kind: 'error', code, message, leader };
    }
    default:
      return undefined;
  }
}

function readRows(reader: FrameReader): Reply {
  const more = reader.flag();
  const count = reader.integer(0, LIMITS.scanRowsMax);
  const rows: KeyValue[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    rows.push({ key: reader.bytes(LIMITS.keyBytesMax), value: reader.bytes(LIMITS.valueBytesMax) });
  }
  return { kind: 'rows', rows, more };
}

/** Two fields; id 0 stands for no hint. */
function hintFields(hint: LeaderHint | undefined, writer: FrameWriter): readonly Field[] {
  return hint === undefined ? [0, ''] : [hint.id, writer.text(hint.client)];
}

function readHint(reader: FrameReader): LeaderHint | undefined {
  const id = reader.integer();
  const client = reader.text();
  return id === 0 ? undefined : { id, client };
}

function statusFields(status: NodeStatus, writer: FrameWriter): readonly Field[] {
  const { raft } = status;
  const fields: Field[] = [
    raft.id,
    ROLES.numberOf(raft.role),
    raft.term,
    raft.vote,
    raft.leader,
    raft.commit,
    raft.applied,
    raft.first,
    raft.last.index,
    raft.last.term,
    raft.durable,
    raft.deadlineMs,
    raft.peers.length,
  ];
  for (const peer of raft.peers) fields.push(peer.id, MODES.numberOf(peer.mode), peer.match, peer.next);
  fields.push(raft.votes.length, ...raft.votes);
  fields.push(writer.bytes(utf8(JSON.stringify(plainConfig(raft.config)))), raft.configIndex);
  fields.push(raft.transferTo, raft.leaseUntilMs, raft.isQuiesced);
  fields.push(status.members.length);
  for (const { id, standing, address, client } of status.members)
    fields.push(id, STANDINGS.numberOf(standing), writer.text(address), writer.text(client));
  fields.push(...hintFields(status.leader, writer), writer.text(status.client));
  fields.push(status.keys, status.dataBytes, status.walBytes, status.snapshotIndex);
  fields.push(STORAGE.numberOf(status.storage), status.revision, status.compactedRevision);
  fields.push(...engineFields(status.engine, writer));
  return fields;
}

function readStatus(reader: FrameReader): NodeStatus {
  const raft = {
    id: reader.integer(1),
    role: reader.name(ROLES),
    term: reader.integer(),
    vote: reader.integer(),
    leader: reader.integer(),
    commit: reader.integer(),
    applied: reader.integer(),
    first: reader.integer(),
    last: { index: reader.integer(), term: reader.integer() },
    durable: reader.integer(),
    deadlineMs: reader.number(),
    peers: readPeers(reader),
    votes: readVotes(reader),
    config: readConfig(reader),
    configIndex: reader.integer(),
    transferTo: reader.integer(),
    leaseUntilMs: reader.number(),
    isQuiesced: reader.flag(),
  };
  return {
    raft,
    members: readMembers(reader),
    leader: readHint(reader),
    client: reader.text(),
    keys: reader.integer(),
    dataBytes: reader.integer(),
    walBytes: reader.integer(),
    snapshotIndex: reader.integer(),
    storage: reader.name(STORAGE),
    revision: reader.integer(),
    compactedRevision: reader.integer(),
    engine: readEngine(reader),
  };
}

function readPeers(reader: FrameReader): readonly PeerProgress[] {
  const count = reader.integer(0, MEMBERS_MAX);
  const peers: PeerProgress[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const id = reader.integer(1);
    peers.push({ id, mode: reader.name(MODES), match: reader.integer(), next: reader.integer() });
  }
  return peers;
}

function readVotes(reader: FrameReader): readonly number[] {
  const count = reader.integer(0, MEMBERS_MAX);
  const votes: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) votes.push(reader.integer(1));
  return votes;
}

function readMembers(reader: FrameReader): readonly MemberStatus[] {
  const count = reader.integer(0, MEMBERS_MAX);
  const members: MemberStatus[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const id = reader.integer(1);
    members.push({ id, standing: reader.name(STANDINGS), address: reader.text(), client: reader.text() });
  }
  return members;
}

function readConfig(reader: FrameReader): Config {
  const config = configOf(parsed(textOf(reader.bytes(CONFIG_BYTES_MAX))));
  if (config !== undefined) return config;
  reader.reject();
  return bootstrapConfig([]);
}

function parsed(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
