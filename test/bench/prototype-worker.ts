/**
 * A node of the bare prototype that `npm run bench` compares with: the data path of a replicated write and nothing
 * else. No terms, no elections, no state machine, no checks: the first thread leads, for ever. What it does do: frames
 * over the same kind of ports, one record and one fdatasync for everything that has arrived, acknowledgement by a
 * majority.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { type MessagePort, workerData } from 'node:worker_threads';

/** What the bench gives each thread. */
export interface PrototypeStart {
  readonly path: string;
  /** The leader's: one port to each follower. A follower's: one port to the leader. */
  readonly peers: readonly MessagePort[];
  readonly isLeader: boolean;
  readonly client: MessagePort | undefined;
}

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written by bench.ts
const start = workerData as PrototypeStart;
const file = openSync(start.path, 'w');

function persist(frames: readonly Uint8Array[]): void {
  for (const frame of frames) writeSync(file, frame);
  fdatasyncSync(file);
}

/** A frame of requests begins with its number of requests and its own number, u32 each. */
function lead(client: MessagePort): void {
  let inbox: Uint8Array[] = [];
  let isScheduled = false;
  /** Frames that are not answered yet, in order. */
  let waiting: Uint8Array[] = [];
  let ownFrames = 0;
  let answered = 0;
  const acknowledged = start.peers.map(() => 0);
  const answer = (): void => {
    const replies: Uint8Array[] = [];
    const counts = [ownFrames, ...acknowledged].toSorted((a, b) => b - a);
    const majority = counts[1] ?? 0;
    while (answered < majority && waiting[0] !== undefined) {
      replies.push(waiting[0].slice(0, 8));
      waiting.shift();
      answered += 1;
    }
    if (replies.length > 0) client.postMessage(replies);
  };
  const turn = (): void => {
    isScheduled = false;
    const frames = inbox;
    inbox = [];
    waiting = [...waiting, ...frames];
    for (const peer of start.peers) peer.postMessage(frames);
    persist(frames);
    ownFrames += frames.length;
    answer();
  };
  client.on('message', (frame: Uint8Array) => {
    inbox.push(frame);
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(turn);
  });
  for (const [i, peer] of start.peers.entries()) {
    peer.on('message', (count: number) => {
      acknowledged[i] = (acknowledged[i] ?? 0) + count;
      answer();
    });
  }
  client.on('close', () => {
    for (const peer of start.peers) peer.close();
    closeSync(file);
  });
}

function follow(leader: MessagePort): void {
  let inbox: Uint8Array[] = [];
  let isScheduled = false;
  leader.on('message', (frames: Uint8Array[]) => {
    inbox.push(...frames);
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      const batch = inbox;
      inbox = [];
      persist(batch);
      leader.postMessage(batch.length);
    });
  });
  leader.on('close', () => closeSync(file));
}

if (start.isLeader && start.client !== undefined) lead(start.client);
else if (start.peers[0] !== undefined) follow(start.peers[0]);
