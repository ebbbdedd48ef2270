/**
 * `npm run bench`: durable writes through the JS client on three nodes with sync on, next to a bare prototype of the
 * same data path and, if it is on the PATH, to etcd, in one run on one machine. Prints what it measured; judges nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { arch, cpus, platform, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Cluster } from '../../src/index.ts';
import { Etcd, etcdVersion } from './etcd.ts';
import { KEY_BYTES, type Measured, VALUE_BYTES, type WriteOne, measure } from './measure.ts';
import { Prototype } from './prototype.ts';

const HELP = `Usage: npm run bench -- [options]

Measures durable writes through the JS client on three nodes.

  --seconds N     length of each measurement (default 5)
  --rounds N      measurements of each setting; the median is printed (default 3)
  --in-flight L   comma-separated writes in flight (default 1,64,256,1024)
  --data DIR      where the logs go (default: the system's temporary directory)
  --soak SECONDS  instead: full load for so long, with the process's memory every ten seconds
  --json          one JSON object instead of text

Examples:
  npm run bench
  npm run bench -- --seconds 2 --rounds 1 --in-flight 256
  npm run bench -- --soak 120
`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    'in-flight': { type: 'string', default: '1,64,256,1024' },
    data: { type: 'string' },
    soak: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

interface Row {
  readonly system: string;
  readonly inFlight: number;
  readonly measured: Measured;
}

function print(text: string): void {
  if (!values.json) process.stdout.write(`${text}\n`);
}

function machine(): object {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  };
}

function medianOf(runs: readonly Measured[]): Measured {
  const sorted = runs.toSorted((a, b) => a.writesPerSecond - b.writesPerSecond);
  const median = sorted[Math.floor(sorted.length / 2)];
  if (median === undefined) throw new Error('Nothing was measured');
  return median;
}

async function compare(directory: string): Promise<void> {
  const seconds = Number(values.seconds);
  const rounds = Number(values.rounds);
  const settings = {
    nodes: 3,
    sync: 'fdatasync',
    keyBytes: KEY_BYTES,
    valueBytes: VALUE_BYTES,
    seconds,
    rounds,
  };
  print(`machine   ${JSON.stringify(machine())}`);
  print(`settings  ${JSON.stringify(settings)}`);
  const version = etcdVersion();
  print(
    version === undefined
      ? 'etcd      not on the PATH: not measured'
      : `etcd      ${version}, through its JSON gateway over HTTP/1.1`,
  );
  const cluster = await Cluster.start({ nodes: 3, dataDir: join(directory, 'oxide') });
  await cluster.leader();
  const client = cluster.client();
  const prototype = new Prototype(directory);
  const etcd = version === undefined ? undefined : await Etcd.start(directory);
  const systems = new Map<string, WriteOne>([
    ['prototype', (key, value) => prototype.set(key, value)],
    ['oxide-kv', (key, value) => client.set(key, value)],
  ]);
  if (etcd !== undefined) systems.set('etcd', (key, value) => etcd.set(key, value));
  for (const write of systems.values()) await measure(write, { inFlight: 64, seconds: 1 });
  const rows: Row[] = [];
  for (const inFlight of values['in-flight'].split(',').map(Number)) {
    const runs = new Map<string, Measured[]>([...systems.keys()].map((system) => [system, []]));
    for (let round = 0; round < rounds; round++) {
      for (const [system, write] of systems)
        runs.get(system)?.push(await measure(write, { inFlight, seconds }));
    }
    for (const [system, measured] of runs) rows.push({ system, inFlight, measured: medianOf(measured) });
    report(rows.filter((row) => row.inFlight === inFlight));
  }
  await client.close();
  await cluster.stop();
  await prototype.close();
  await etcd?.close();
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ machine: machine(), settings, etcd: version ?? null, rows })}\n`,
    );
}

function report(rows: readonly Row[]): void {
  const own = rows.find((row) => row.system === 'oxide-kv')?.measured;
  for (const { system, inFlight, measured } of rows) {
    const numbers = [
      `${inFlight} in flight`.padEnd(16),
      system.padEnd(10),
      `${Math.round(measured.writesPerSecond)}/s`.padStart(10),
      `p50 ${measured.p50Ms.toFixed(2)} ms`.padStart(14),
      `p99 ${measured.p99Ms.toFixed(2)} ms`.padStart(16),
    ];
    const ratio =
      own === undefined || system === 'oxide-kv'
        ? ''
        : `   oxide-kv: ${(own.writesPerSecond / measured.writesPerSecond).toFixed(2)} × its writes/s, ${(own.p50Ms / measured.p50Ms).toFixed(2)} × its p50`;
    print(numbers.join(' ') + ratio);
  }
}

async function soak(directory: string, seconds: number): Promise<void> {
  print(`machine   ${JSON.stringify(machine())}`);
  print(`soak      256 writes in flight for ${seconds} s, 10000 keys; resident memory of the whole process`);
  const cluster = await Cluster.start({ nodes: 3, dataDir: join(directory, 'soak') });
  const leader = await cluster.leader();
  const term = cluster.view().term;
  const client = cluster.client();
  const samples: number[] = [];
  const load = measure((key, value) => client.set(key, value), { inFlight: 256, seconds });
  for (let elapsed = 10; elapsed <= seconds; elapsed += 10) {
    await sleep(10_000);
    const mebibytes = process.memoryUsage().rss / 2 ** 20;
    samples.push(mebibytes);
    print(`${String(elapsed).padStart(5)} s  ${mebibytes.toFixed(0)} MiB`);
  }
  const measured = await load;
  const half = samples.slice(Math.floor(samples.length / 2));
  const growth = ((half.at(-1) ?? 0) - (half[0] ?? 0)).toFixed(0);
  print(
    `${measured.count} writes, ${Math.round(measured.writesPerSecond)}/s; memory grew ${growth} MiB over the second half`,
  );
  print(`leader n${leader.id} in term ${term} at the start, term ${cluster.view().term} at the end`);
  await cluster.stop();
  if (values.json)
    process.stdout.write(`${JSON.stringify({ machine: machine(), seconds, samples, measured })}\n`);
}

if (values.help) process.stdout.write(HELP);
else {
  const directory = mkdtempSync(join(values.data ?? tmpdir(), 'oxide-kv-bench-'));
  try {
    if (values.soak === undefined) await compare(directory);
    else await soak(directory, Number(values.soak));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
