/** How an engine's account of itself is laid out as fields of a frame. */
import { unreachable } from '../lib/assert.ts';
import type { EngineKind, EngineStats, LevelStats } from '../storage/version-engine.ts';
import { type Field, type FrameReader, type FrameWriter, NumberedNames } from './frame.ts';

/** Levels that an account may list: more than any tree has. */
const LEVELS_MAX = 64;

/** The engines, by their codes. */
export const ENGINES: NumberedNames<EngineKind> = new NumberedNames<EngineKind>({ memory: 1, lsm: 2 });

/** The fields of an engine's account. */
export function engineFields(stats: EngineStats, writer: FrameWriter): readonly Field[] {
  const kind = ENGINES.numberOf(stats.kind);
  switch (stats.kind) {
    case 'memory':
      return [kind, stats.versions, stats.bytes];
    case 'lsm': {
      const fields: Field[] = [kind, stats.memtableBytes, stats.memtableBytesMax];
      fields.push(stats.flushingBytes, stats.levels.length);
      for (const { tables, bytes } of stats.levels) fields.push(tables, bytes);
      fields.push(stats.cacheBytes, stats.cacheHits, stats.cacheMisses);
      fields.push(stats.compacting !== undefined, writer.text(stats.compacting ?? ''));
      fields.push(stats.compactionsDone, stats.compactedBytes, stats.flushesDone);
      fields.push(stats.pressurePercent);
      return fields;
    }
    default:
      return unreachable(stats);
  }
}

/** Reads what {@link engineFields} laid out. */
export function readEngine(reader: FrameReader): EngineStats {
  const kind = reader.name(ENGINES);
  if (kind === 'memory') return { kind, versions: reader.integer(), bytes: reader.integer() };
  const memtableBytes = reader.integer();
  const memtableBytesMax = reader.integer();
  const flushingBytes = reader.integer();
  const count = reader.integer(0, LEVELS_MAX);
  const levels: LevelStats[] = [];
  for (let i = 0; i < count && !reader.failed; i++)
    levels.push({ tables: reader.integer(), bytes: reader.integer() });
  const cache = { cacheBytes: reader.integer(), cacheHits: reader.integer(), cacheMisses: reader.integer() };
  const isCompacting = reader.flag();
  const compacting = reader.text();
  return {
    kind,
    memtableBytes,
    memtableBytesMax,
    flushingBytes,
    levels,
    ...cache,
    compacting: isCompacting ? compacting : undefined,
    compactionsDone: reader.integer(),
    compactedBytes: reader.integer(),
    flushesDone: reader.integer(),
    pressurePercent: reader.integer(),
  };
}
