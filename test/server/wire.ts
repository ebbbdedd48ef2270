/** A raw client for tests of a door: bytes in, lines out, and how the connection ended. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';

export interface Wire {
  readonly socket: Socket;
  /** Everything received so far. */
  readonly text: () => string;
  readonly lines: () => readonly string[];
  /** Resolves when `count` lines are there; rejects when the connection closes before. */
  readonly waitLines: (count: number) => Promise<readonly string[]>;
  /** Resolves when the connection is gone, with everything received. */
  readonly closed: Promise<string>;
  /** Resolves when the other side has ended its half. */
  readonly ended: Promise<void>;
}

/** Opens a connection to a door on this machine. */
export async function open(port: number, options: { readonly allowHalfOpen?: boolean } = {}): Promise<Wire> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: options.allowHalfOpen ?? false });
  const chunks: string[] = [];
  let count = 0;
  let changed: (() => void) | undefined;
  let isClosed = false;
  socket.setEncoding('utf8');
  socket.on('error', () => {
    // 'close' follows; tests look at what was received
  });
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      isClosed = true;
      changed?.();
      resolve(chunks.join(''));
    });
  });
  const ended = new Promise<void>((resolve) => socket.once('end', resolve));
  socket.on('data', (chunk: string) => {
    chunks.push(chunk);
    count += chunk.split('\n').length - 1;
    changed?.();
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const text = (): string => chunks.join('');
  const lines = (): readonly string[] => text().split('\n').slice(0, -1);
  const waitLines = (wanted: number): Promise<readonly string[]> =>
    new Promise((resolve, reject) => {
      changed = () => {
        if (count >= wanted) resolve(lines());
        else if (isClosed)
          reject(new Error(`closed after ${count} of ${wanted} lines: ${text().slice(0, 500)}`));
      };
      changed();
    });
  return { socket, text, lines, waitLines, closed, ended };
}

/** Sends `input` and resolves with the lines of the answer, `count` of them. */
export async function ask(port: number, input: string | Uint8Array, count = 1): Promise<readonly string[]> {
  const wire = await open(port);
  wire.socket.write(input);
  const lines = await wire.waitLines(count);
  wire.socket.destroy();
  return lines;
}

/** Sends `input`, leaves the connection open, and resolves with everything received once the door has closed it. */
export async function untilClosed(port: number, input: string | Uint8Array): Promise<string> {
  const wire = await open(port);
  wire.socket.write(input);
  return wire.closed;
}
