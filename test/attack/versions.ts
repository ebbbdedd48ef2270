/** Versions for the attacks: what puts them into an engine, and all that an engine holds, as text. */
import { crc32 } from '../../src/lib/crc32.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import type { Checkpoint, CheckpointStore } from '../../src/storage/checkpoint.ts';
import type { Version, VersionEngine } from '../../src/storage/version-engine.ts';

const ALL = { start: '', end: undefined };

function shown({ key, revision, sub, created, version, lease, value }: Version): string {
  return `${key}@${revision}.${sub}/${created}.${version}.${lease}=${value.length}:${crc32(value)}`;
}

/** All that an engine answers from `horizon` on. */
export function answersOf(engine: VersionEngine, horizon: number): string {
  const rows = Array.from(engine.scan(ALL, Math.max(horizon, 0)), shown);
  const changes = Array.from(engine.changes(ALL, horizon, Number.MAX_SAFE_INTEGER), shown);
  const back = Array.from(engine.scan(ALL, Number.MAX_SAFE_INTEGER, true), shown);
  return [...rows, '|', ...changes, '|', ...back].join(' ');
}

/** All that a store holds, when its newest checkpoint is this one. The first line of its state is the horizon, if any. */
export function contentsOf(store: CheckpointStore, newest: Checkpoint | undefined = store.newest): string {
  const horizon = Number(newest?.state[0] ?? '0');
  return `${JSON.stringify(newest ?? 'nothing')} ${answersOf(store.engine, horizon)}`;
}

/** Writes a round of versions, each revision above those of the rounds before. */
export function scribble(engine: VersionEngine, round: number, count = 12): void {
  const random = new Random(`round ${round}`);
  const alive = new Map<string, { readonly created: number; readonly version: number }>();
  for (let i = 1; i <= count; i++) {
    const revision = round * 1000 + i;
    const key = `k${random.int(0, 8)}`;
    if (random.chance(0.2)) {
      alive.delete(key);
      engine.put({ key, revision, sub: 0, created: 0, version: 0, lease: 0n, value: new Uint8Array(0) });
      continue;
    }
    const { created, version } = alive.get(key) ?? { created: revision, version: 0 };
    alive.set(key, { created, version: version + 1 });
    const value = utf8('v'.repeat(random.int(0, 40)));
    engine.put({ key, revision, sub: 0, created, version: version + 1, lease: 0n, value });
  }
}
