/** How replies are written as lines of the JSON-lines door. Names are snake_case. */
import { unreachable } from '../lib/assert.ts';
import { textOf } from '../lib/bytes.ts';
import type { EngineStats, KeyValue, LeaderHint, NodeStatus, Reply } from '../net/protocol.ts';

/**
 * Writes a reply as one line, without its end.
 *
 * @param base64 whether the request asked for base64
 */
export function encodeReply(reply: Reply, base64: boolean): string {
  switch (reply.kind) {
    case 'ok':
      return reply.existed === undefined
        ? `{"status":"ok","index":${reply.index}}`
        : `{"status":"ok","index":${reply.index},"existed":${reply.existed}}`;
    case 'value':
      return encodeValue(reply.value, base64);
    case 'rows':
      return encodeRows(reply.rows, reply.more, base64);
    case 'session':
      return `{"status":"ok","session":${reply.id}}`;
    case 'result':
      return JSON.stringify({ status: 'ok', index: reply.index, result: toBase64(reply.result) });
    case 'leader':
      return `{"status":"ok","leader":${reply.leader}}`;
    case 'status':
      return JSON.stringify({ status: 'ok', data: wireStatus(reply.status) });
    case 'mismatch':
      return encodeMismatch(reply.actual, base64);
    case 'error':
      if (reply.code === 'not_leader') return encodeNotLeader(reply.leader);
      return JSON.stringify({ status: 'error', code: reply.code, message: reply.message });
    default:
      return unreachable(reply);
  }
}

function encodeValue(value: Uint8Array | undefined, base64: boolean): string {
  if (value === undefined) return '{"status":"not_found"}';
  const text = base64 ? undefined : textOf(value);
  if (text === undefined) return `{"status":"ok","data":"${toBase64(value)}","encoding":"base64"}`;
  return `{"status":"ok","data":${JSON.stringify(text)}}`;
}

/** One encoding for all rows: the first that is not UTF-8 makes all of them base64. */
function encodeRows(rows: readonly KeyValue[], more: boolean, base64: boolean): string {
  const texts: string[] = [];
  for (const row of base64 ? [] : rows) {
    const key = textOf(row.key);
    const value = textOf(row.value);
    if (key === undefined || value === undefined) return encodeRows(rows, more, true);
    texts.push(`{"key":${JSON.stringify(key)},"value":${JSON.stringify(value)}}`);
  }
  if (!base64) return `{"status":"ok","data":[${texts.join(',')}],"more":${more}}`;
  for (const row of rows) texts.push(`{"key":"${toBase64(row.key)}","value":"${toBase64(row.value)}"}`);
  return `{"status":"ok","data":[${texts.join(',')}],"more":${more},"encoding":"base64"}`;
}

function encodeMismatch(actual: Uint8Array | undefined, base64: boolean): string {
  const error = { status: 'error', code: 'compare_failed' };
  if (actual === undefined) {
    return JSON.stringify({ ...error, message: 'Cannot compare and set: the key is absent', actual: null });
  }
  const message = 'Cannot compare and set: the key holds another value';
  const text = base64 ? undefined : textOf(actual);
  if (text !== undefined) return JSON.stringify({ ...error, message, actual: text });
  return JSON.stringify({ ...error, message, actual: toBase64(actual), encoding: 'base64' });
}

function encodeNotLeader(leader: LeaderHint | undefined): string {
  const hint = leader === undefined ? null : { id: leader.id, client: leader.client };
  return JSON.stringify({
    error: 'Not a leader. Please connect to the leader node.',
    code: 'not_leader',
    leader: hint,
  });
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** {@link NodeStatus} as it is, in snake_case. A timer that never fires is null: JSON has no infinity. */
function wireStatus(status: NodeStatus): object {
  const { raft, leader } = status;
  return {
    raft: {
      id: raft.id,
      role: raft.role === 'preCandidate' ? 'pre_candidate' : raft.role,
      term: raft.term,
      vote: raft.vote,
      leader: raft.leader,
      commit: raft.commit,
      applied: raft.applied,
      first: raft.first,
      last: { index: raft.last.index, term: raft.last.term },
      durable: raft.durable,
      deadline_ms: Number.isFinite(raft.deadlineMs) ? raft.deadlineMs : null,
      peers: raft.peers.map(({ id, mode, match, next }) => ({ id, mode, match, next })),
      votes: raft.votes,
      config_index: raft.configIndex,
      transfer_to: raft.transferTo,
      lease_until_ms: raft.leaseUntilMs,
    },
    members: status.members.map(({ id, standing, address, client }) => ({ id, standing, address, client })),
    leader: leader === undefined ? null : { id: leader.id, client: leader.client },
    client: status.client,
    keys: status.keys,
    data_bytes: status.dataBytes,
    wal_bytes: status.walBytes,
    snapshot_index: status.snapshotIndex,
    storage: status.storage,
    revision: status.revision,
    compacted_revision: status.compactedRevision,
    engine: wireEngine(status.engine),
  };
}

function wireEngine(stats: EngineStats): object {
  if (stats.kind === 'memory') return stats;
  return {
    kind: stats.kind,
    memtable_bytes: stats.memtableBytes,
    memtable_bytes_max: stats.memtableBytesMax,
    flushing_bytes: stats.flushingBytes,
    levels: stats.levels.map(({ tables, bytes }) => ({ tables, bytes })),
    cache_bytes: stats.cacheBytes,
    cache_hits: stats.cacheHits,
    cache_misses: stats.cacheMisses,
    compacting: stats.compacting ?? null,
    compactions_done: stats.compactionsDone,
    compacted_bytes: stats.compactedBytes,
    flushes_done: stats.flushesDone,
    pressure_percent: stats.pressurePercent,
  };
}
