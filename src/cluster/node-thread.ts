/**
 * A node's thread from start to stop: opens the data directory, recovers the node, opens its doors, and obeys the
 * control plane. Runs inside the worker; a crash of the thread needs none of it.
 */
import * as comlink from 'comlink';
import type { MessagePort } from 'node:worker_threads';
import { messageOf } from '../lib/errors.ts';
import { Random } from '../lib/random.ts';
import { addressOf, addressText } from '../net/address.ts';
import { ChannelTransport } from '../net/channel.ts';
import { LinkTable } from '../net/faults.ts';
import type { Envelope } from '../net/protocol.ts';
import { type SocketPeer, SocketTransport } from '../net/socket.ts';
import type { Contact, NodeOptions } from '../node/env.ts';
import { Node } from '../node/node.ts';
import { JsonLinesDoor } from '../server/json-lines.ts';
import { DataDirectory } from '../storage/data-directory.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { openStore } from '../storage/open-store.ts';
import type { Control, Started, WorkerStart } from './control.ts';
import { Driver } from './driver.ts';
import { endpointOf } from './endpoint.ts';
import { PortCompactor } from './port-compactor.ts';
import { isProcessAlive } from './process.ts';

/** Starts the node that `start` describes. Failures are told on the reports port before the thread ends. */
export async function runNodeThread(start: WorkerStart): Promise<void> {
  try {
    await open(start);
  } catch (error) {
    const failed: Started = { kind: 'failed', message: messageOf(error), code: codeOf(error) };
    start.reports.postMessage(failed);
    // Let the message leave before the thread does.
    setImmediate(() => setImmediate(() => process.exit(1)));
  }
}

/** A short name for programs: the system's code, or the class of the error. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'Error';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

async function open(start: WorkerStart): Promise<void> {
  const fs = new NodeFileSystem();
  const directory = DataDirectory.open({
    fs,
    path: start.directory,
    cluster: start.cluster,
    nodeId: start.id,
    // Once it is one it stays one, whether that is said again or not.
    ...(start.raft.witness === true ? { witness: true } : {}),
    engine: start.engine,
    owner: { pid: process.pid, startedAt: start.processStartedAt, token: start.lockToken },
    isAlive: isProcessAlive,
    newIncarnation: () => crypto.randomUUID(),
  });
  try {
    await openIn(directory, fs, start);
  } catch (error) {
    // The process may live on and try again; its own lock must not stand in its way.
    directory.release();
    throw error;
  }
}

async function openIn(directory: DataDirectory, fs: NodeFileSystem, start: WorkerStart): Promise<void> {
  const random = new Random(start.seed);
  const freeze = new Int32Array(start.freeze);
  const receive = (from: number, envelopes: readonly Envelope[]): void => node.receive(from, envelopes);
  const connected = (peer: number): void => node.connected(peer);
  const disconnected = (peer: number): void => node.disconnected(peer);
  const channels =
    start.network.kind === 'channels'
      ? new ChannelTransport({
          self: start.id,
          links: new LinkTable(start.network.links),
          random: random.fork('links'),
          later: (delayMs, run) => void setTimeout(run, delayMs),
          receive,
          disconnected,
        })
      : undefined;
  const compactor = new PortCompactor(start.compactions, () => running.driver?.wake());
  let sockets: SocketTransport | undefined;
  /** Set once the node can take turns; until then nothing wakes it. */
  const running: { driver: Driver | undefined } = { driver: undefined };
  const node = new Node(
    {
      fs,
      transport: { send: (to, envelopes) => (channels ?? sockets)?.send(to, envelopes) },
      openStore: (disk, path) =>
        openStore({ fs: disk, directory: path, choice: { kind: directory.engine }, compactor }),
      random: random.fork('raft'),
      nowMs: () => performance.now(),
      wake: () => running.driver?.wake(),
      beforeSync: () => running.driver?.answerClients(),
      contactsChanged: (contacts) => sockets?.setPeers(peersOf(start, contacts)),
    },
    optionsOf(start, directory),
    performance.now(),
  );
  if (start.network.kind === 'sockets') {
    const { host, port } = start.network;
    const peers = peersOf(start, node.contacts);
    sockets = await SocketTransport.listen({
      self: start.id,
      host,
      port,
      peers,
      connected,
      disconnected,
      receive,
    });
  }
  const door =
    start.door === undefined ? undefined : await JsonLinesDoor.listen({ ...start.door, service: node });
  const client = door === undefined || start.door === undefined ? '' : `${start.door.host}:${door.port}`;
  node.setClient(client);
  const driver = new Driver({ node, freeze, reports: start.reports });
  running.driver = driver;
  const stop = async (): Promise<void> => {
    await door?.close();
    driver.stop();
    compactor.close();
    channels?.close();
    await sockets?.close();
    directory.release();
  };
  expose({ node, driver, channels, stop }, start.control);
  const started: Started = { kind: 'started', client };
  start.reports.postMessage(started);
}

/** Who the node is, as it was told and as its directory says. */
function optionsOf(start: WorkerStart, directory: DataDirectory): NodeOptions {
  return {
    id: start.id,
    voters: start.voters,
    addresses: addressesOf(start),
    memberAddresses: start.network.kind === 'sockets' ? 'needed' : 'none',
    cluster: start.cluster,
    incarnation: directory.incarnation,
    directory: start.directory,
    raft: { ...start.raft, witness: directory.witness },
    requestTimeoutMs: start.requestTimeoutMs,
    snapshotEntries: start.snapshotEntries,
    ...(start.historyRevisions === undefined ? {} : { historyRevisions: start.historyRevisions }),
  };
}

/** Where the founders are reached, as this node was told, for the log. */
function addressesOf({ id, network }: WorkerStart): ReadonlyMap<number, string> {
  if (network.kind === 'channels') return new Map();
  const own = { id, address: { host: network.host, port: network.port } };
  return new Map([own, ...network.peers].map((node) => [node.id, addressText(node.address)]));
}

/**
 * Where to dial the members. Of those that the cluster began with, whoever started this node knows best; of one that was
 * added later, the log. While there are no members, whoever this node was told of may know some.
 */
function peersOf({ network }: WorkerStart, contacts: readonly Contact[] | undefined): readonly SocketPeer[] {
  if (network.kind === 'channels') return [];
  if (contacts === undefined) return network.peers;
  const told = new Map(network.peers.map(({ id, address }) => [id, address]));
  return contacts.map(({ id, address, since }) => {
    const logged = addressOf(address);
    return { id, address: since > 0 ? (logged ?? told.get(id)) : (told.get(id) ?? logged) };
  });
}

function expose(
  parts: {
    readonly node: Node;
    readonly driver: Driver;
    readonly channels: ChannelTransport | undefined;
    readonly stop: () => Promise<void>;
  },
  port: MessagePort,
): void {
  const { node, driver, channels, stop } = parts;
  const control: Control = {
    connect(peer, peerPort) {
      channels?.connect(peer, peerPort);
      node.connected(peer);
    },
    attachClient: (clientPort) => driver.attachClient(clientPort),
    poke: () => driver.standStill(),
    stop,
  };
  comlink.expose(control, endpointOf(port));
}
