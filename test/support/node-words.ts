/** The words of scripts for whole nodes: times, nodes, links, faults. It parses and knows no network. */
import { assert } from '../../src/lib/assert.ts';
import type { Envelope } from '../../src/net/protocol.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { MemberChange } from '../../src/raft/membership.ts';
import type { CallKind, CrashMode, Fault } from '../../src/sim/disk.ts';

/** Which envelopes a command means. */
export type Selector = (from: NodeId, to: NodeId, word: string) => boolean;

/** What selectors call an envelope. */
export function wordOf(envelope: Envelope): string {
  if (envelope.kind !== 'raft') return envelope.kind;
  const { message } = envelope;
  if (message.kind === 'vote') return message.pre ? 'preVote' : 'vote';
  if (message.kind === 'voteReply') return message.pre ? 'preVoteReply' : 'voteReply';
  return message.kind;
}

/** Matches by links and words; see node-script.ts. */
export function selector(args: readonly string[]): Selector {
  const links = args.filter((arg) => arg.includes('>')).map((arg) => arg.split('>'));
  const words = args.filter((arg) => !arg.includes('>'));
  return (from, to, word) =>
    (links.length === 0 ||
      links.some(
        ([sender, receiver]) =>
          (sender === '' || Number(sender) === from) && (receiver === '' || Number(receiver) === to),
      )) &&
    (words.length === 0 || words.includes(word));
}

/** What a call of a disk does instead of working. */
export function faultOf(args: readonly string[]): Fault {
  const [name = 'EIO'] = args.filter((arg) => !arg.includes('='));
  if (name === 'powerCut') return { kind: 'powerCut' };
  if (name === 'dropPages') return { kind: 'dropPages', errno: 'EIO' };
  assert(name === 'EIO' || name === 'ENOSPC', `Not a fault of a disk: ${name}`);
  return { kind: 'error', errno: name };
}

/** Whether a disk has such a call that scripts let fail. */
export function isCallKind(kind: string): kind is CallKind {
  return [
    'create',
    'open',
    'read',
    'write',
    'truncate',
    'sync',
    'rename',
    'remove',
    'syncDirectory',
  ].includes(kind);
}

/** What a power cut keeps. */
export function crashMode(mode: string): CrashMode {
  assert(mode === 'worst' || mode === 'best' || mode === 'any', `Not a way to lose power: ${mode}`);
  return mode;
}

/** The value of `name=value`. */
export function option(args: readonly string[], name: string): string | undefined {
  return args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The number of a node. */
export function id(arg: string | undefined): NodeId {
  const value = Number(arg);
  assert(Number.isInteger(value) && value > 0, `Not a node: ${arg}`);
  return value;
}

/** A change of members: `add=4`. */
export function change(arg: string): MemberChange {
  const [kind = '', node] = arg.split('=');
  switch (kind) {
    case 'add':
      return { kind: 'add', node: id(node), address: '' };
    case 'learner':
      return { kind: 'addLearner', node: id(node), address: '' };
    case 'promote':
      return { kind: 'promote', node: id(node) };
    case 'remove':
      return { kind: 'remove', node: id(node) };
    default:
      throw new Error(`Not a change of members: ${arg}`);
  }
}

/** `300ms` or `5s`. */
export function milliseconds(arg: string | undefined): number {
  const [, amount, unit] = /^(\d+)(ms|s)$/.exec(arg ?? '') ?? [];
  assert(amount !== undefined, `Not a time: ${arg}`);
  return Number(amount) * (unit === 's' ? 1000 : 1);
}
