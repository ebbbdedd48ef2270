/**
 * Who belongs to the cluster, as an entry of the log says it, and how one configuration follows another (§6, thesis §4.3).
 * A change of voters goes through a joint configuration, in which majorities of the old and the new voters must both
 * agree. Pure functions; who may ask for a change and when is for the leader and the rules.
 */
import { textOf, utf8 } from '../lib/bytes.ts';
import type { LogIndex, NodeId } from './entry.ts';

/** A configuration. Lists are sorted and disjoint but for `outgoing` and `witnesses`, which may share members with every other. */
export interface Config {
  readonly voters: readonly NodeId[];
  /** Voters of the configuration that is being left. Not empty: this one is joint. */
  readonly outgoing: readonly NodeId[];
  /** They receive the log and are counted nowhere (thesis §4.2.1). */
  readonly learners: readonly NodeId[];
  /** Learners that become voters when they have caught up. */
  readonly promoting: readonly NodeId[];
  /**
   * Members that vote like any other and keep the log without its commands: they hold no data and never lead. Each is
   * among the voters of some kind or the learners.
   */
  readonly witnesses: readonly NodeId[];
  /** Where the host reaches a member; opaque to Raft, and missing where the host knows by itself. */
  readonly addresses: ReadonlyMap<NodeId, string>;
  /**
   * Where in the log each member was added; missing for those that the cluster began with. It tells a member that was
   * removed and added again from the one it was, also to whoever heard of neither.
   */
  readonly since: ReadonlyMap<NodeId, LogIndex>;
}

/** What an operator asks for. Several changes made together take effect together. */
export type MemberChange =
  /** Joins as a learner and is made a voter when it has caught up. */
  | { readonly kind: 'add'; readonly node: NodeId; readonly address: string }
  /** Joins like one that is added, and becomes a witness. */
  | { readonly kind: 'addWitness'; readonly node: NodeId; readonly address: string }
  /** Joins as a learner and stays one. */
  | { readonly kind: 'addLearner'; readonly node: NodeId; readonly address: string }
  /** Makes a learner a voter at once. */
  | { readonly kind: 'promote'; readonly node: NodeId }
  | { readonly kind: 'remove'; readonly node: NodeId };

/** Why a change makes no sense; one word for programs. */
export type ChangeProblem =
  | 'named_twice'
  /** Too many of the voters to be have not been heard of lately: nobody could lead them. */
  | 'no_majority'
  | 'already_member'
  | 'not_member'
  | 'cannot_remove_last_server'
  /** A majority of the voters to be could be witnesses alone: what they commit might be kept by nobody. */
  | 'too_few_copies'
  | 'too_many_members'
  | 'empty_change';

/** Members of a cluster, learners included. */
export const MEMBERS_MAX = 15;
const ADDRESS_CHARACTERS_MAX = 256;

/** Majorities that must all agree: one, or two while joint. */
export type Quorums = readonly (readonly NodeId[])[];

/** The configuration that a cluster begins with. */
export function bootstrapConfig(
  voters: readonly NodeId[],
  addresses: ReadonlyMap<NodeId, string> = new Map(),
): Config {
  const none: readonly NodeId[] = [];
  const config = { voters: sorted(voters), outgoing: none, learners: none, promoting: none, witnesses: none };
  return ofMembers({ ...config, addresses, since: new Map() });
}

/** Whether the old and the new voters must both agree. */
export function isJoint(config: Config): boolean {
  return config.outgoing.length > 0;
}

/** Everyone who receives the log, sorted. */
export function membersOf(config: Config): readonly NodeId[] {
  return sorted([...config.voters, ...config.outgoing, ...config.learners]);
}

/** Whether this node may stand for election and vote for itself. */
export function isVoter(config: Config, id: NodeId): boolean {
  return config.voters.includes(id) || config.outgoing.includes(id);
}

/** Whether this member keeps no data. */
export function isWitness(config: Config, id: NodeId): boolean {
  return config.witnesses.includes(id);
}

/** Whether a change takes a node in, at an address. */
export function isAddition(
  change: MemberChange,
): change is Extract<MemberChange, { readonly address: string }> {
  return 'address' in change;
}

/**
 * The configuration to append for `changes`: a joint one when voters change, a plain one otherwise.
 *
 * @param config not joint
 * @param index where in the log it will stand
 * @returns a problem, with the node it is about, when the changes make no sense for `config`
 */
export function configAfter(
  config: Config,
  changes: readonly MemberChange[],
  index: LogIndex,
):
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problem: ChangeProblem; readonly node: NodeId } {
  const voters = new Set(config.voters);
  const learners = new Set(config.learners);
  const promoting = new Set(config.promoting);
  const witnesses = new Set(config.witnesses);
  const addresses = new Map(config.addresses);
  const since = new Map(config.since);
  const named = new Set<NodeId>();
  if (changes.length === 0) return { ok: false, problem: 'empty_change', node: 0 };
  for (const change of changes) {
    const { node } = change;
    const isMember = voters.has(node) || learners.has(node);
    // Removed and added in one step, a node that forgot everything would still count among the old voters.
    if (named.has(node)) return { ok: false, problem: 'named_twice', node };
    named.add(node);
    const isNew = isAddition(change);
    if (isNew && isMember) return { ok: false, problem: 'already_member', node };
    if (!isNew && !isMember) return { ok: false, problem: 'not_member', node };
    if (isNew) {
      learners.add(node);
      if (change.kind !== 'addLearner') promoting.add(node);
      if (change.kind === 'addWitness') witnesses.add(node);
      addresses.set(node, change.address);
      since.set(node, index);
    } else if (change.kind === 'promote') {
      if (voters.has(node)) return { ok: false, problem: 'already_member', node };
      learners.delete(node);
      promoting.delete(node);
      voters.add(node);
    } else {
      voters.delete(node);
      learners.delete(node);
      promoting.delete(node);
    }
    if (voters.size === 0) return { ok: false, problem: 'cannot_remove_last_server', node };
    if (voters.size + learners.size > MEMBERS_MAX) return { ok: false, problem: 'too_many_members', node };
  }
  const isSame = voters.size === config.voters.length && config.voters.every((id) => voters.has(id));
  const next: Config = {
    voters: sorted(voters),
    outgoing: isSame ? [] : config.voters,
    learners: sorted(learners),
    promoting: sorted(promoting),
    witnesses: sorted(witnesses),
    addresses,
    since,
  };
  return { ok: true, config: ofMembers(next) };
}

/** The configuration that follows a joint one: the new voters alone. */
export function configAfterJoint(joint: Config): Config {
  return ofMembers({ ...joint, outgoing: [] });
}

/** What is known of members only. */
function ofMembers(config: Config): Config {
  const members = membersOf(config);
  return {
    ...config,
    witnesses: config.witnesses.filter((id) => members.includes(id)),
    addresses: new Map([...config.addresses].filter(([id]) => members.includes(id))),
    since: new Map([...config.since].filter(([id]) => members.includes(id))),
  };
}

/** As people read it: `n1 n2 n3`, `joint: n1 n2 n3 → n1 n2 n4 learning: n5`, `n1 n2 n3 witness: n3`. */
export function describeConfig(config: Config): string {
  const parts = [names(config.voters)];
  if (isJoint(config)) parts.unshift(`joint: ${names(config.outgoing)} →`);
  if (config.learners.length > 0) parts.push(`learning: ${names(config.learners)}`);
  if (config.witnesses.length > 0) parts.push(`witness: ${names(config.witnesses)}`);
  return parts.join(' ');
}

function names(ids: readonly NodeId[]): string {
  return ids.map((id) => `n${id}`).join(' ');
}

/** The payload of a config entry: JSON, so that a log can be read. */
export function encodeConfig(config: Config): Uint8Array {
  return utf8(JSON.stringify(plainConfig(config)));
}

/** Reads what {@link encodeConfig} wrote. @returns undefined for anything else */
export function decodeConfig(payload: Uint8Array): Config | undefined {
  const text = textOf(payload);
  return text === undefined ? undefined : configOf(parse(text));
}

/** A configuration out of parsed JSON, checked. @returns undefined when it is none */
export function configOf(value: unknown): Config | undefined {
  if (!isObject(value)) return undefined;
  const { voters, outgoing, learners, promoting, witnesses = [], addresses, since } = value;
  if (!isIdList(voters) || !isIdList(outgoing) || !isIdList(learners) || !isIdList(promoting))
    return undefined;
  const isMember = (id: NodeId): boolean => [voters, outgoing, learners].some((ids) => ids.includes(id));
  if (!isIdList(witnesses) || !witnesses.every(isMember)) return undefined;
  if (voters.length === 0 && (outgoing.length > 0 || learners.length > 0)) return undefined;
  if (learners.some((id) => voters.includes(id)) || promoting.some((id) => !learners.includes(id)))
    return undefined;
  const known = mapOf(addresses, isAddress);
  const added = mapOf(since, isId);
  if (known === undefined || added === undefined) return undefined;
  return { voters, outgoing, learners, promoting, witnesses, addresses: known, since: added };
}

function mapOf<T>(value: unknown, isValue: (value: unknown) => value is T): Map<NodeId, T> | undefined {
  if (!Array.isArray(value)) return undefined;
  const map = new Map<NodeId, T>();
  for (const pair of value as readonly unknown[]) {
    if (!Array.isArray(pair)) return undefined;
    const [id, of] = pair as readonly unknown[];
    if (!isId(id) || !isValue(of)) return undefined;
    map.set(id, of);
  }
  return map;
}

/** The inverse of {@link configOf}: plain data for JSON. Without witnesses it is what programs wrote that knew of none. */
export function plainConfig(config: Config): unknown {
  const { witnesses, ...rest } = config;
  const some = witnesses.length === 0 ? {} : { witnesses };
  return { ...rest, ...some, addresses: [...config.addresses], since: [...config.since] };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isId(value: unknown): value is NodeId {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}

function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length <= ADDRESS_CHARACTERS_MAX;
}

function isIdList(value: unknown): value is readonly NodeId[] {
  if (!Array.isArray(value) || value.length > 2 * MEMBERS_MAX) return false;
  const ids: readonly unknown[] = value;
  return ids.every((id, i) => isId(id) && (i === 0 || Number(ids[i - 1]) < id));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sorted(ids: Iterable<NodeId>): readonly NodeId[] {
  return [...new Set(ids)].toSorted((a, b) => a - b);
}
