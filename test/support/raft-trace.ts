/** One line of text for each thing that happens in a test network: the notation of the scripts' expected output. */
import { unreachable } from '../../src/lib/assert.ts';
import type { Entry } from '../../src/raft/entry.ts';
import type { Event, LogPosition, Message, Outcome, Write } from '../../src/raft/messages.ts';
import { type Happening, type Packet, type RaftNode, text } from './raft-network.ts';

/** The line of a happening, or undefined for one that is not worth a line. */
export function line(happening: Happening): string | undefined {
  switch (happening.kind) {
    case 'sent':
      return packetLine(happening.packet, happening.lost ? '⇥' : '→');
    case 'event':
      return eventLine(`n${happening.node}`, happening.event);
    case 'outcome': {
      const { request } = happening;
      return request.outcome === undefined
        ? undefined
        : `n${happening.node} ${request.name}: ${outcomeText(request.outcome)}`;
    }
    case 'applied':
      return `n${happening.node} applies ${happening.entries.map((entry) => `${entry.index}=${text(entry)}`).join(' ')}`;
    case 'writing':
      return `n${happening.node} begins write ${happening.write.seq}: ${writeText(happening.write)}`;
    case 'persisted':
      return undefined;
    case 'lost':
      return happening.writes > 0
        ? `n${happening.node} loses ${count(happening.writes, 'write')}`
        : undefined;
    default:
      return unreachable(happening);
  }
}

/** A packet with its arrow: `→` on its way, `⇥` lost. */
export function packetLine(packet: Packet, arrow: string): string {
  const { from, to } = packet;
  switch (packet.kind) {
    case 'message':
      return `n${from}@${packet.message.term} ${arrow} n${to} ${messageText(packet.message)}`;
    case 'snapshot':
      return `n${from}@${packet.term} ${arrow} n${to} snapshot ${at(packet.snapshot.position)}`;
    case 'report':
      return `n${from} ${arrow} n${to} snapshot ${packet.ok ? 'delivered' : 'lost'}`;
    default:
      return unreachable(packet);
  }
}

/** The word by which a script selects packets of this kind. */
export function packetWord(packet: Packet): string {
  if (packet.kind !== 'message') return packet.kind;
  const { message } = packet;
  if (message.kind === 'vote') return message.pre ? 'preVote' : 'vote';
  if (message.kind === 'voteReply') return message.pre ? 'preVoteReply' : 'voteReply';
  return message.kind;
}

/** What a client was told. */
export function outcomeText(outcome: Outcome): string {
  if (outcome.ok && outcome.kind === 'transferred') return `transferred to n${outcome.leader}`;
  if (outcome.ok) {
    const isLeased = outcome.kind === 'readable' && outcome.validUntilMs !== undefined;
    return `${outcome.kind} at ${outcome.index}${isLeased ? ' by lease' : ''}`;
  }
  const { reason } = outcome;
  switch (reason.kind) {
    case 'notLeader':
      return reason.leader === 0 ? 'refused: no leader known' : `refused: n${reason.leader} leads`;
    case 'overloaded':
      return `refused: ${reason.uncommittedBytes} bytes are uncommitted`;
    case 'configPending':
      return `refused: the change at ${reason.index} is under way`;
    case 'noopUncommitted':
      return 'refused: nothing of this term is committed';
    case 'invalidChange':
      return `refused: ${reason.problem} n${reason.node}`;
    case 'storageFailed':
      return 'refused: the disk failed';
    case 'transferring':
      return `refused: leadership goes to n${reason.to}`;
    case 'invalidTarget':
      return `refused: ${reason.problem} n${reason.node}`;
    case 'transferAborted':
      return `refused: n${reason.to} did not take over`;
    case 'tooManyReads':
      return `refused: ${reason.readsMax} reads wait`;
    case 'lostLeadership':
      return reason.mayCommit ? 'unknown: leadership lost, it may commit' : 'refused: leadership lost';
    default:
      return unreachable(reason);
  }
}

/** A node's log: `(..3@1) 4@1=x 5@2=no-op ¦ 6@2=y`, what stands before `¦` is committed. */
export function logText(node: RaftNode): string {
  const { log } = node.disk;
  const { base, entries } = node.raft === undefined ? log : node.memory;
  const commit = node.status?.commit ?? node.disk.hard.commit;
  const done = entries.filter((entry) => entry.index <= commit).map(entryText);
  const open = entries.filter((entry) => entry.index > commit).map(entryText);
  const start = base.index > 0 ? [`(..${at(base)})`] : [];
  const parts = [...start, ...done, ...(open.length > 0 ? ['¦', ...open] : [])];
  return parts.length === 0 ? 'empty' : parts.join(' ');
}

/** A node's state on one line, and one more for each follower of a leader. */
export function statusLines(node: RaftNode): readonly string[] {
  const { status } = node;
  if (status === undefined) return [`n${node.id} down`];
  const { role, term, vote, leader, commit, applied, last, durable } = status;
  const own = `n${node.id} ${role} term=${term} vote=${vote} leader=${leader} commit=${commit} applied=${applied} last=${at(last)} durable=${durable}`;
  const peers = status.peers.map(
    (peer) => `  n${peer.id} ${peer.mode} match=${peer.match} next=${peer.next}`,
  );
  return [own, ...peers];
}

export function at(position: LogPosition): string {
  return `${position.index}@${position.term}`;
}

function entryText(entry: Entry): string {
  return `${at(entry)}=${text(entry)}`;
}

function messageText(message: Message): string {
  switch (message.kind) {
    case 'vote':
      return `${message.pre ? 'preVote' : 'vote'} last=${at(message.last)}${message.transfer === undefined ? '' : ` transfer=${message.transfer.round}@${message.transfer.term}`}`;
    case 'voteReply':
      return `${message.pre ? 'preVoteReply' : 'voteReply'} ${message.granted ? 'granted' : 'refused'}`;
    case 'append': {
      const entries = message.entries.map((entry) => `${at(entry)}${entry.kind === 'stub' ? ' stub' : ''}`);
      const shown = entries.length > 4 ? `${entries[0]} … ${entries.at(-1)}` : entries.join(' ');
      return `append prev=${at(message.prev)} [${shown}] commit=${message.commit}`;
    }
    case 'rebase':
      return `rebase ${at(message.position)}`;
    case 'appendReply':
      return `appendReply match=${message.match}`;
    case 'appendReject':
      return `appendReject ${message.rejected} hint=${at(message.hint)}${message.lost === true ? ' lost' : ''}`;
    case 'heartbeat':
      return `heartbeat ${message.round} commit=${message.commit}${message.quiesce === true ? ' quiesce' : ''}`;
    case 'heartbeatReply':
      return `heartbeatReply ${message.round}`;
    case 'timeoutNow':
      return `timeoutNow ${message.round}`;
    case 'readRequest':
      return `readRequest ${requestNumber(message.id)}`;
    case 'readReply':
      return `readReply ${requestNumber(message.id)} at ${message.index}`;
    default:
      return unreachable(message);
  }
}

function eventLine(name: string, event: Event): string {
  switch (event.kind) {
    case 'role':
      return `${name} ${event.from} ⇒ ${event.to}: ${event.why}`;
    case 'term':
      return `${name} enters term ${event.term}: ${event.why}`;
    case 'vote': {
      const verb = event.granted ? 'grants' : 'refuses';
      return `${name} ${verb} n${event.candidate} ${event.pre ? 'a pre-vote for' : 'its vote in'} term ${event.term}: ${event.why}`;
    }
    case 'commit':
      return `${name} commits ${event.index}: ${event.why} (${event.by.map((id) => `n${id}`).join(' ')})`;
    case 'config':
      return `${name} config ${event.index} ${event.phase}: ${event.why}`;
    case 'transfer':
      return `${name} hands over to n${event.to}: ${event.why}`;
    case 'quiesce':
      return `${name} ${event.isQuiesced ? 'falls asleep' : 'wakes'}: ${event.why}`;
    case 'stall':
      return `${name} has a slow disk: ${event.why}`;
    case 'whole':
      return `${name} votes again: ${event.why}`;
    case 'truncate':
      return `${name} cuts its log after ${event.after}: ${event.why}`;
    case 'reject':
      return `${name} rejects: ${event.why}`;
    case 'snapshot':
      return `${name} snapshot ${event.index} with n${event.peer}: ${event.why}`;
    case 'drop':
      return `${name} drops ${messageText(event.message)} of n${event.message.from}@${event.message.term}: ${event.why}`;
    default:
      return unreachable(event);
  }
}

/** Ids of follower reads begin at a random number. */
function requestNumber(id: number): number {
  return id % 2 ** 20;
}

function writeText(write: Write): string {
  const parts: string[] = [];
  if (write.snapshot !== undefined)
    parts.push(`snapshot ${at(write.snapshot.position)}${write.snapshot.keepLog ? ' keeping the log' : ''}`);
  if (write.hard !== undefined) parts.push(`term=${write.hard.term} vote=${write.hard.vote}`);
  if (write.append !== undefined)
    parts.push(`after ${write.append.after} [${write.append.entries.map(at).join(' ')}]`);
  return parts.join(', ');
}

function count(n: number, noun: string): string {
  return n === 1 ? `${n} ${noun}` : `${n} ${noun}s`;
}
