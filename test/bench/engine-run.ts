/**
 * One engine measured once, in a process of its own, so that the garbage of one is not swept up by another: writes, then
 * reads. `engine.ts` starts it with a job as its only argument and reads the result from its output.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { at, defined } from '../../src/lib/assert.ts';
import { EngineData, type Order, VALUE_BYTES } from './engine-data.ts';
import { type Subject, type SubjectName, openSubject } from './engine-subjects.ts';

export interface EngineJob {
  readonly subject: SubjectName;
  readonly keys: number;
  readonly order: Order;
  readonly seed: number;
  /** Empty, and removed by whoever starts the job. */
  readonly directory: string;
}

/** CPU time of the whole process, of all its threads. */
export interface Cost {
  readonly cpuMicroseconds: number;
  readonly wallMicroseconds: number;
  /** Keys written, asked for, or found. */
  readonly operations: number;
}

export interface EngineResult {
  readonly costs: Readonly<Record<string, Cost>>;
  /** The most memory that the process ever had, and how much data it held: MiB. */
  readonly residentMiB: number;
  readonly dataMiB: number;
}

const BATCH_KEYS = 1000;
const READS = 200_000;
const SHORT_SCANS = 2000;
const SHORT_SCAN_KEYS = 50;
/** What is written before, and read as often as what is measured, so that the code is compiled. */
const WARM_UP_KEYS = 20_000;

async function take(operations: number, run: () => Promise<void>): Promise<Cost> {
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  await run();
  const wallMicroseconds = (performance.now() - startedMs) * 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { cpuMicroseconds: user + system, wallMicroseconds, operations };
}

async function reads(subject: Subject, data: EngineData, isThere: boolean): Promise<Cost> {
  const numbers = data.draw(READS);
  return await take(numbers.length, async () => {
    let bytes = 0;
    for (const number of numbers) bytes += subject.get(number, isThere);
    expectBytes(bytes, isThere ? numbers.length : 0);
  });
}

async function fullScan(subject: Subject, data: EngineData, isReverse: boolean): Promise<Cost> {
  return await take(data.count, async () => {
    expectBytes(await subject.scan(undefined, Infinity, isReverse), data.count);
  });
}

async function shortScans(subject: Subject, data: EngineData, isReverse: boolean): Promise<Cost> {
  // As far from either end as a scan is long.
  const room = data.count - 2 * SHORT_SCAN_KEYS;
  const numbers = data.draw(SHORT_SCANS).map((number) => SHORT_SCAN_KEYS + (number % room));
  return await take(SHORT_SCANS * SHORT_SCAN_KEYS, async () => {
    let bytes = 0;
    for (const number of numbers) {
      // oxlint-disable-next-line no-await-in-loop -- what is measured is one after the other
      bytes += await subject.scan(number, SHORT_SCAN_KEYS, isReverse);
    }
    expectBytes(bytes, SHORT_SCANS * SHORT_SCAN_KEYS);
  });
}

/** An engine that answers wrongly is not fast. */
function expectBytes(bytes: number, values: number): void {
  if (bytes !== values * VALUE_BYTES)
    throw new Error(`${bytes} bytes of values came back, not ${values} values`);
}

async function measureOnce(job: EngineJob, keys: number): Promise<Readonly<Record<string, Cost>>> {
  const directory = join(job.directory, String(keys));
  mkdirSync(directory, { recursive: true });
  const data = new EngineData({ count: keys, order: job.order, seed: job.seed });
  const subject = await openSubject(job.subject, directory, data);
  const write = await take(keys, async () => {
    for (let from = 0; from < keys; from += BATCH_KEYS) {
      // oxlint-disable-next-line no-await-in-loop -- batches come in order
      await subject.batch(from, Math.min(keys, from + BATCH_KEYS));
    }
    await subject.sync();
  });
  const settle = await take(keys, () => subject.settle());
  const costs = {
    write,
    'write+compact': { ...write, cpuMicroseconds: write.cpuMicroseconds + settle.cpuMicroseconds },
    hit: await reads(subject, data, true),
    miss: await reads(subject, data, false),
    forward: await fullScan(subject, data, false),
    backward: await fullScan(subject, data, true),
    'short forward': await shortScans(subject, data, false),
    'short backward': await shortScans(subject, data, true),
  };
  await subject.close();
  rmSync(directory, { recursive: true });
  return costs;
}

const job: EngineJob = JSON.parse(defined(at(process.argv, 2), 'job'));
await measureOnce(job, WARM_UP_KEYS);
const costs = await measureOnce(job, job.keys);
const result: EngineResult = {
  costs,
  residentMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  dataMiB: Math.round((job.keys * (16 + VALUE_BYTES)) / 2 ** 20),
};
process.stdout.write(`${JSON.stringify(result)}\n`);
