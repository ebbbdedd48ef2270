/**
 * Three etcd processes on loopback, if etcd is on the PATH, written to through etcd's own JSON gateway over kept-alive
 * HTTP/1.1 connections. That costs etcd more than a gRPC client would: the bench says so where it prints the numbers.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const CLIENT_PORT = 23_790;
const PEER_PORT = 23_890;
const START_TRIES = 100;

/** The version of etcd on the PATH; undefined without one. */
export function etcdVersion(): string | undefined {
  const { status, stdout } = spawnSync('etcd', ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}

export class Etcd {
  readonly #processes: readonly ChildProcess[];
  readonly #agent: Agent = new Agent({ keepAlive: true, maxSockets: 1024 });
  #leaderPort = CLIENT_PORT;

  private constructor(directory: string) {
    const cluster = [1, 2, 3].map((id) => `n${id}=http://127.0.0.1:${PEER_PORT + id}`).join(',');
    this.#processes = [1, 2, 3].map((id) => {
      const client = `http://127.0.0.1:${CLIENT_PORT + id}`;
      const peer = `http://127.0.0.1:${PEER_PORT + id}`;
      return spawn(
        'etcd',
        [
          '--name',
          `n${id}`,
          '--data-dir',
          join(directory, `etcd-${id}`),
          '--logger',
          'zap',
          '--log-level',
          'error',
          '--listen-client-urls',
          client,
          '--advertise-client-urls',
          client,
          '--listen-peer-urls',
          peer,
          '--initial-advertise-peer-urls',
          peer,
          '--initial-cluster',
          cluster,
          '--initial-cluster-state',
          'new',
        ],
        { stdio: 'ignore' },
      );
    });
  }

  /** Starts three nodes and finds the leader. Rejects when they do not come up. */
  static async start(directory: string): Promise<Etcd> {
    const etcd = new Etcd(directory);
    for (let i = 0; i < START_TRIES; i++) {
      // oxlint-disable-next-line no-await-in-loop -- waits for the processes
      if (await etcd.#findLeader()) return etcd;
      // oxlint-disable-next-line no-await-in-loop
      await sleep(100);
    }
    await etcd.close();
    throw new Error('etcd did not elect a leader');
  }

  async set(key: Uint8Array, value: Uint8Array): Promise<void> {
    const body = { key: Buffer.from(key).toString('base64'), value: Buffer.from(value).toString('base64') };
    await this.#post(this.#leaderPort, '/v3/kv/put', body);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
    await Promise.all(
      this.#processes.map(
        (child) =>
          new Promise<void>((resolve) => {
            if (child.exitCode !== null) return resolve();
            child.once('exit', () => resolve());
            child.kill('SIGKILL');
          }),
      ),
    );
  }

  async #findLeader(): Promise<boolean> {
    for (const id of [1, 2, 3]) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- three at most
        const status: unknown = JSON.parse(await this.#post(CLIENT_PORT + id, '/v3/maintenance/status', {}));
        if (typeof status !== 'object' || status === null || !('leader' in status) || !('header' in status))
          continue;
        const { leader, header } = status;
        if (
          typeof header !== 'object' ||
          header === null ||
          !('member_id' in header) ||
          header.member_id !== leader
        )
          continue;
        this.#leaderPort = CLIENT_PORT + id;
        return true;
      } catch {
        // Not up yet: asked again.
      }
    }
    return false;
  }

  #post(port: number, path: string, body: object): Promise<string> {
    const text = JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: '127.0.0.1',
          port,
          path,
          method: 'POST',
          agent: this.#agent,
          headers: { 'content-length': text.length },
        },
        (response) => {
          let answer = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            answer += chunk;
          });
          response.on('end', () =>
            response.statusCode === 200 ? resolve(answer) : reject(new Error(answer)),
          );
        },
      );
      call.on('error', reject);
      call.end(text);
    });
  }
}
