/** Snapshots in files: out of a running cluster, and into the data directories of a new one. */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { ClusterIdentity } from '../cluster/identity.ts';
import { processStartedAt } from '../cluster/process.ts';
import { type PortableLease, PortableWriter } from '../offline/portable.ts';
import type { Progress as Step } from '../offline/report.ts';
import { SnapshotToRestore } from '../offline/restore.ts';
import type { Args } from './args.ts';
import type { Context } from './command.ts';
import { engineOf } from './engine-option.ts';
import { CommandError, EXIT, UsageError } from './failure.ts';
import { type OutputFile, openOutput } from './output-file.ts';
import { ask, readPages, refusal } from './pages.ts';
import { Progress, progressBar } from './progress.ts';
import { type StoreClient, withStore } from './store.ts';
import { bytesText, counted } from './units.ts';

const NODES_DEFAULT = 3;
/** How long the restoring of a slice may keep signals waiting. */
const SLICE_MS = 50;

/** `snapshot save FILE`. */
export async function save(args: Args, context: Context): Promise<number> {
  const path = args.positional(1);
  const signal = context.watchSignals();
  let isStopped = false;
  void signal.stopped.then(() => (isStopped = true));
  const file = openOutput(path, context);
  try {
    const saved = await withStore(args, context, (client) =>
      saveAll(client, file, { progress: new Progress(context, args), isOver: () => isStopped }),
    );
    if (isStopped) return EXIT.interrupted;
    file.commit();
    const to = path === '-' ? context.err : context.out;
    const { keys, bytes, revision } = saved;
    if (args.has('json')) to.json({ ok: true, file: path, ...saved });
    else to.line(`Saved ${counted(keys, 'key')} (${bytesText(bytes)}) as of revision ${revision} to ${path}`);
    return EXIT.ok;
  } finally {
    file.abort();
    signal.release();
  }
}

interface Saved {
  readonly keys: number;
  readonly leases: number;
  readonly bytes: number;
  readonly revision: number;
}

async function saveAll(
  client: StoreClient,
  file: OutputFile,
  how: { readonly progress: Progress; readonly isOver: () => boolean },
): Promise<Saved> {
  const { progress, isOver } = how;
  const { data_bytes: expected } = await client.status();
  // Before the keys: a lease that is not here was granted later, or ended before the keys were read.
  const leases = await readLeases(client);
  const writer = new PortableWriter();
  let [keys, bytes, revision] = [0, 0, 0];
  try {
    for await (const page of readPages(client, new Uint8Array(0))) {
      if (revision === 0) await file.write(writer.header(page.revision));
      revision = page.revision;
      await file.write(writer.rows(page.rows));
      keys += page.rows.length;
      for (const row of page.rows) {
        bytes += row.key.length + row.value.length;
        if (row.lease !== 0n && !leases.has(row.lease))
          leases.set(row.lease, await readLease(client, row.lease));
      }
      progress.show(progressBar(bytes, Number(expected), counted(keys, 'key')));
      if (isOver()) break;
    }
  } finally {
    progress.clear();
  }
  const list = [...leases.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  await file.write(writer.leases(list) + writer.end());
  return { keys, leases: list.length, bytes, revision };
}

async function readLeases(client: StoreClient): Promise<Map<bigint, PortableLease>> {
  const result = await ask(client, { kind: 'leases' });
  if (result.kind !== 'leases') throw refusal(result);
  const leases = new Map<bigint, PortableLease>();
  for (const id of result.ids) {
    // oxlint-disable-next-line no-await-in-loop -- one question each
    leases.set(id, await readLease(client, id));
  }
  return leases;
}

/** One that has ended meanwhile ends soon after it is restored, too, and takes its keys along. */
async function readLease(client: StoreClient, id: bigint): Promise<PortableLease> {
  const result = await ask(client, { kind: 'leaseTimeToLive', id, keys: false });
  if (result.kind !== 'leaseTimeToLive') throw refusal(result);
  return { id, ttlSeconds: result.lease?.grantedTtlSeconds ?? 1 };
}

/** `snapshot restore FILE --data DIR`. */
export async function restore(args: Args, context: Context): Promise<number> {
  const data = args.text('data');
  if (data === undefined)
    throw new UsageError('"snapshot restore" needs --data DIR', 'The directory that it makes');
  const directory = resolve(data);
  const nodes = args.integer('nodes', { min: 1, max: 9 }, NODES_DEFAULT);
  const { engine = 'memory' } = engineOf(args);
  if (existsSync(directory) && readdirSync(directory).length > 0)
    throw new CommandError('bad_request', `Cannot restore to "${directory}": it is there and not empty`);
  const source = new SnapshotToRestore(args.positional(1));
  const signal = context.watchSignals();
  let isStopped = false;
  void signal.stopped.then(() => (isStopped = true));
  // It gets its name when it is whole.
  const part = `${directory}.part-${process.pid}`;
  const progress = new Progress(context, args);
  const bar = new Bar(progress, source.totalBytes * (nodes + 1));
  try {
    const found = await bar.run(source.verify(), () => isStopped);
    const identity = ClusterIdentity.open(part, nodes, engine);
    for (const nodeId of identity.founders) {
      const work = source.restore({
        directory: identity.directoryOf(nodeId),
        nodeId,
        founders: identity.founders,
        cluster: identity.cluster,
        engine,
        owner: { pid: process.pid, startedAt: processStartedAt(), token: 'restore' },
        newIncarnation: () => crypto.randomUUID(),
      });
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await bar.run(work, () => isStopped);
    }
    if (existsSync(directory)) rmSync(directory, { recursive: true });
    renameSync(part, directory);
    progress.clear();
    const { cluster } = identity;
    if (args.has('json')) context.out.json({ ok: true, data: directory, cluster, nodes, engine, ...found });
    else tell(context, { directory, cluster, nodes, ...found });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof Interrupted) return EXIT.interrupted;
    throw error;
  } finally {
    progress.clear();
    source.close();
    rmSync(part, { recursive: true, force: true });
    signal.release();
  }
}

function tell(
  { out }: Context,
  restored: {
    readonly directory: string;
    readonly cluster: string;
    readonly nodes: number;
    readonly keys: number;
    readonly leases: number;
    readonly revision: number;
  },
): void {
  const { directory, cluster, nodes, keys, leases, revision } = restored;
  const what = `${counted(keys, 'key')} and ${counted(leases, 'lease')} as of revision ${revision}`;
  out.line(`Restored ${what} to ${directory}: cluster ${cluster} of ${counted(nodes, 'node')}`);
  out.line(`Start it: oxide-kv serve --data ${directory}`);
}

class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** One bar over several pieces of work. */
class Bar {
  readonly #progress: Progress;
  readonly #total: number;
  #done = 0;

  constructor(progress: Progress, total: number) {
    this.#progress = progress;
    this.#total = total;
  }

  /** Does all of it. Throws {@link Interrupted} when it is stopped. */
  async run<T>(work: Generator<Step, T>, isStopped: () => boolean): Promise<T> {
    let sliceMs = performance.now();
    for (;;) {
      const step = work.next();
      if (step.done === true) return step.value;
      this.#done += step.value.bytes;
      this.#progress.show(progressBar(this.#done, this.#total, step.value.file));
      if (performance.now() - sliceMs > SLICE_MS) {
        // oxlint-disable-next-line no-await-in-loop -- signals have their turn
        await new Promise<void>((done) => void setImmediate(done));
        sliceMs = performance.now();
      }
      // Whatever the work has open is closed on the way.
      if (isStopped()) work.throw(new Interrupted('It was interrupted'));
    }
  }
}
