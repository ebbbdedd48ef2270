/** How scripts of whole nodes print what they see, and compare it with what they expect: answers, status, rows, files. */
import { at, unreachable } from '../../src/lib/assert.ts';
import { fromLatin1, latin1, textOf } from '../../src/lib/bytes.ts';
import type { Envelope, Reply } from '../../src/net/protocol.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { CrashFileSystem } from '../../src/sim/disk.ts';
import type { NodeHost } from './node-network.ts';
import { wordOf } from './node-words.ts';

/** An answer in words. */
export function replyText(outcome: Reply | 'lost'): string {
  if (outcome === 'lost') return 'lost with the node';
  switch (outcome.kind) {
    case 'ok':
      return `ok at ${outcome.index}${outcome.existed === undefined ? '' : `, existed: ${outcome.existed}`}`;
    case 'value':
      return outcome.value === undefined ? 'no such key' : `"${textOf(outcome.value) ?? '?'}"`;
    case 'session':
      return `session ${outcome.id}`;
    case 'leader':
      return `n${outcome.leader} leads`;
    case 'error':
      return `${outcome.code}: ${outcome.message}`;
    case 'mismatch':
    case 'rows':
    case 'result':
    case 'status':
      return outcome.kind;
    default:
      return unreachable(outcome);
  }
}

/** An envelope on its way. */
export function envelopeText(from: NodeId, to: NodeId, envelope: Envelope): string {
  const link = `n${from} → n${to} ${wordOf(envelope)}`;
  if (envelope.kind !== 'snapshotPart') return link;
  const { position, offset, bytes, totalBytes } = envelope;
  const part = bytes.length === 0 ? 'offer' : `${offset}–${offset + bytes.length}`;
  return `${link} of ${position.index}: ${part} of ${totalBytes}`;
}

/** An answer in the one word that expectations say. */
export function replyWord(outcome: Reply | 'lost' | undefined): string {
  if (outcome === undefined) return 'pending';
  if (outcome === 'lost') return 'lost';
  if (outcome.kind === 'value') return outcome.value === undefined ? 'none' : 'value';
  return outcome.kind === 'error' ? outcome.code : outcome.kind;
}

/** What conditions may ask about a running node. */
export function fieldsOf(host: NodeHost): ReadonlyMap<string, string> {
  const { raft, snapshotIndex, storage, members } = host.running.status();
  return new Map([
    ['role', raft.role],
    ['term', String(raft.term)],
    ['vote', String(raft.vote)],
    ['leader', String(raft.leader)],
    ['first', String(raft.first)],
    ['last', `${raft.last.index}@${raft.last.term}`],
    ['commit', String(raft.commit)],
    ['applied', String(raft.applied)],
    ['snapshot', String(snapshotIndex)],
    ['disk', storage],
    ['voters', raft.config.voters.join(',')],
    ['members', members.map(({ id }) => id).join(',')],
    [
      'match',
      raft.peers
        .map(({ id, match }) => `${id}:${match}`)
        .toSorted()
        .join(','),
    ],
    ['modes', raft.peers.map(({ id, mode }) => `${id}:${mode}`).join(',')],
  ]);
}

export function statusText(host: NodeHost): string {
  if (!host.isUp) return `n${host.id} is down: it ${host.reason}`;
  const found = fieldsOf(host);
  const words = ['term', 'vote', 'first', 'last', 'commit', 'applied', 'snapshot', 'disk'];
  return `n${host.id} ${found.get('role')} ${words.map((word) => `${word}=${found.get(word)}`).join(' ')}`;
}

/** All rows of a running node's store. */
export function dataText(host: NodeHost): string {
  return host.engine?.text ?? 'is down';
}

/** The files in one directory of a node, with their sizes. */
export function filesOf(host: NodeHost, directory: string): readonly string[] {
  const path = `data/${directory}`;
  return host.fs.list(path).map((name) => `${name} ${host.fs.peek(`${path}/${name}`).length}`);
}

/** The first file below `data/<directory>` that holds `text`, and where; the last file for an empty one. */
export function fileAt(
  fs: CrashFileSystem,
  directory: string,
  text: string,
): { readonly path: string; readonly bytes: Uint8Array; readonly offset: number } {
  const path = `data/${directory}`;
  const names = fs.list(path);
  for (const name of text === '' ? names.toReversed() : names) {
    const bytes = fs.peek(`${path}/${name}`);
    const offset = latin1(bytes).indexOf(latin1(fromLatin1(text)));
    if (offset >= 0) return { path: `${path}/${name}`, bytes, offset };
  }
  throw new Error(`No file in ${path} holds "${text}"`);
}

/** @returns what was found instead of what was wanted; undefined when they are the same */
export function differs(found: string, wanted: string): string | undefined {
  return found === wanted ? undefined : found;
}

/** There is a leader, and all members that run on a good disk have applied all that it has. */
export function isEqual(hosts: readonly NodeHost[]): boolean {
  const members = hosts
    .map(({ running }) => ({ running, ...running.glance() }))
    .filter(({ raft, storage }) => raft.config.voters.length > 0 && storage === 'ok');
  const leader = members.find(({ raft }) => raft.role === 'leader');
  if (leader === undefined) return false;
  const { last } = leader.raft;
  return (
    members.every(
      ({ raft }) =>
        raft.last.index === last.index && raft.last.term === last.term && raft.applied === last.index,
    ) && members.every(({ running }) => rowsOf(running) === rowsOf(leader.running))
  );
}

/** The hash of the rows, without the number of sessions: a node may have lost some, and a story wants to show what follows. */
function rowsOf(node: NodeHost['running']): string {
  return node.stateHash.split('/')[0] ?? '';
}

/** Compares a node with `field=value` pairs, or `down`. @returns what was found instead */
export function mismatch(host: NodeHost, wanted: readonly string[]): string | undefined {
  const isDownWanted = wanted[0] === 'down';
  if (!host.isUp) return isDownWanted ? undefined : 'a node that is down';
  if (isDownWanted) return 'a node that runs';
  const found = fieldsOf(host);
  const wrong = wanted.filter((pair) => {
    const [name = '', value] = pair.split('=');
    return found.get(name) !== value;
  });
  return wrong.length === 0
    ? undefined
    : wrong.map((pair) => `${pair.split('=')[0]}=${found.get(at(pair.split('='), 0))}`).join(' ');
}
