/** Addresses on the command line: reading them, telling loopback from the world, and giving ids to the nodes behind them. */
import { UsageError } from './failure.ts';

/** `host:port`; an IPv6 host is held without its brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A node of a cluster of processes. */
export interface Member {
  readonly id: number;
  /** `host:port` for other nodes. */
  readonly addr: string;
}

/** Reads `host:port` or `[ipv6]:port`. `what` names it in the {@link UsageError}. */
export function parseAddress(text: string, what: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  throw new UsageError(`${what} is "${text}", expected HOST:PORT with a port from 1 to 65535`);
}

/** The text that {@link parseAddress} reads. */
export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only programs on this machine can connect to the host. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

/** Refuses to listen to the world by accident: the protocols have neither passwords nor encryption yet. */
export function checkListen(hosts: readonly string[], isAllowed: boolean): void {
  const open = hosts.find((host) => !isLoopback(host));
  if (open === undefined || isAllowed) return;
  throw new UsageError(
    `Refused to listen on ${open}: everyone who can reach it could read and change all data`,
    'Add --insecure-listen if the network is private',
  );
}

/**
 * The ids of all nodes. Three ways, which must be the same on every node of the cluster:
 * - no ids given: ids 1, 2, 3… in the order of all addresses, own and peers, by host and then by port as a number;
 * - own id given: the peers take the other ids from 1 up, in that same order;
 * - every peer as `ID=HOST:PORT`: as written; the own id is given, or stands in the list.
 *
 * @param own address of this node; it may be repeated among the peers, so that all nodes can be given one list
 */
export function assignIds(
  own: string,
  peers: readonly string[],
  ownId: number | undefined,
): { readonly self: Member; readonly peers: readonly Member[] } {
  const ownAddress = parseAddress(own, 'Option --addr');
  const ownText = formatAddress(ownAddress);
  const listed = peers.map(parsePeer);
  const named = listed.filter((peer) => formatAddress(peer.address) !== ownText);
  distinct(named);
  if (named.length > 0 && (ownAddress.host === '0.0.0.0' || ownAddress.host === '::')) {
    // The addresses together name the cluster: with another picture of it the peers would refuse this node.
    throw new UsageError(
      `Address ${ownText} does not tell this node from its peers`,
      'Give the address that the peers use',
    );
  }
  const explicitCount = named.filter((peer) => peer.id !== undefined).length;
  if (explicitCount > 0) {
    const listedId = listed.find((peer) => formatAddress(peer.address) === ownText)?.id;
    if (listedId !== undefined && ownId !== undefined && ownId !== listedId) {
      throw new UsageError(`Option --id is ${ownId}, but the peers give ${ownText} id ${listedId}`);
    }
    return explicitIds(ownText, named, ownId ?? listedId);
  }
  if (ownId === undefined) {
    const all = [ownAddress, ...named.map((peer) => peer.address)].toSorted(compareAddresses);
    const members = all.map((address, i) => ({ id: i + 1, addr: formatAddress(address) }));
    const self = { id: 1 + members.findIndex((member) => member.addr === ownText), addr: ownText };
    return { self, peers: members.filter((member) => member.id !== self.id) };
  }
  checkId(ownId, named.length + 1);
  const others = named.map((peer) => peer.address).toSorted(compareAddresses);
  const members = others.map((address, i) => ({
    id: i + 1 < ownId ? i + 1 : i + 2,
    addr: formatAddress(address),
  }));
  return { self: { id: ownId, addr: ownText }, peers: members };
}

/**
 * The ids of the nodes that a new one is told of, and its own, which none of them may have. The others by the order of
 * their addresses, as {@link assignIds} gives them on those nodes, or as `ID=HOST:PORT`.
 */
export function assignJoinIds(
  own: string,
  peers: readonly string[],
  ownId: number | undefined,
): { readonly self: Member; readonly peers: readonly Member[]; readonly wasFounder?: boolean } {
  const ownText = formatAddress(parseAddress(own, 'Option --addr'));
  if (ownId === undefined)
    throw new UsageError('Option --join needs --id', 'Give an id that no node of the cluster has or had');
  const [first] = peers;
  if (first === undefined)
    throw new UsageError('Option --join needs --peers', 'Name nodes of the cluster that is to be joined');
  const listed = peers.map(parsePeer);
  // A founder that was removed and comes back: the addresses that name the cluster hold its own.
  if (listed.some((peer) => formatAddress(peer.address) === ownText))
    return { ...assignIds(own, peers, ownId), wasFounder: true };
  if (listed.some((peer) => peer.id !== undefined)) return explicitIds(ownText, distinct(listed), ownId);
  const others = distinct(listed)
    .map((peer) => peer.address)
    .toSorted(compareAddresses);
  if (ownId <= others.length)
    throw new UsageError(
      `Option --id is ${ownId}, but the ${others.length} peers have the ids from 1 to ${others.length}`,
      'Give a higher id, or write the peers as ID=HOST:PORT',
    );
  const members = others.map((address, i) => ({ id: i + 1, addr: formatAddress(address) }));
  return { self: { id: ownId, addr: ownText }, peers: members };
}

interface NamedPeer {
  readonly id: number | undefined;
  readonly address: Address;
}

/** Refuses an address that is given twice. */
function distinct(peers: readonly NamedPeer[]): readonly NamedPeer[] {
  const seen = new Set<string>();
  for (const { address } of peers) {
    const text = formatAddress(address);
    if (seen.has(text)) throw new UsageError(`Peer ${text} is given twice`);
    seen.add(text);
  }
  return peers;
}

function parsePeer(text: string): NamedPeer {
  const match = /^([0-9]{1,9})=(.*)$/.exec(text);
  if (match === null) return { id: undefined, address: parseAddress(text, 'A peer') };
  return { id: Number(match[1]), address: parseAddress(match[2] ?? '', 'A peer') };
}

function explicitIds(
  ownText: string,
  named: readonly NamedPeer[],
  ownId: number | undefined,
): { readonly self: Member; readonly peers: readonly Member[] } {
  if (ownId === undefined) throw new UsageError('Peers with ids need --id for this node too');
  const used = new Set([ownId]);
  const peers = named.map((peer) => {
    const addr = formatAddress(peer.address);
    if (peer.id === undefined)
      throw new UsageError(`Peer ${addr} has no id, but others have one`, 'Write ID=HOST:PORT');
    if (peer.id < 1) throw new UsageError(`Peer ${addr} has id ${peer.id}, expected 1 or more`);
    if (used.has(peer.id)) throw new UsageError(`Id ${peer.id} is given twice`);
    used.add(peer.id);
    return { id: peer.id, addr };
  });
  return { self: { id: ownId, addr: ownText }, peers: peers.toSorted((a, b) => a.id - b.id) };
}

function checkId(id: number, count: number): void {
  if (id <= count) return;
  throw new UsageError(
    `Option --id is ${id}, but there are ${count} nodes`,
    'Write the peers as ID=HOST:PORT',
  );
}

function compareAddresses(a: Address, b: Address): number {
  if (a.host !== b.host) return a.host < b.host ? -1 : 1;
  return a.port - b.port;
}
