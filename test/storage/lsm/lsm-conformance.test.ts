/** The tree behind the contracts that every engine and every store of checkpoints keeps. */
import type { Random } from '../../../src/lib/random.ts';
import { LsmStore } from '../../../src/storage/lsm/lsm-store.ts';
import type { CheckpointWriter } from '../../../src/storage/checkpoint.ts';
import { checkpointStoreConformance } from '../../conformance/checkpoint-store.ts';
import { versionEngineConformance } from '../../conformance/version-engine.ts';
import type { EngineSubject } from '../../support/version-model.ts';
import { LateCompactor, newDisk, openStore, randomOptions } from './lsm-support.ts';

/** Flushes, compacts, stops in the middle of both and gives up flushes, here or elsewhere. */
function subject(random: Random, isElsewhere: boolean): EngineSubject {
  const fs = newDisk();
  const compactor = isElsewhere ? new LateCompactor(fs) : undefined;
  const store = openStore(fs, randomOptions(random), compactor);
  let index = 0;
  let writer: CheckpointWriter | undefined;
  return {
    engine: store.engine,
    disturb: () => {
      if (random.chance(0.5)) compactor?.finish();
      if (writer !== undefined && random.chance(0.1)) {
        writer.abort();
        writer = undefined;
      }
      writer ??= store.begin({ index: (index += 1), term: 1 }, [`state ${index}`]);
      const steps = random.chance(0.7) ? Infinity : random.int(1, 3);
      for (let i = 0; i < steps && writer !== undefined; i++) if (writer.advance()) writer = undefined;
      for (let i = random.int(0, 30); i > 0; i--) store.engine.work();
    },
    close: () => store.close(),
  };
}

versionEngineConformance('LsmEngine', (random) => subject(random, false), { stories: 40, steps: 300 });
versionEngineConformance('LsmEngine with compactions elsewhere', (random) => subject(random, true), {
  stories: 12,
  steps: 300,
});
checkpointStoreConformance(
  'LsmStore',
  (fs, directory, random) =>
    new LsmStore({ fs, directory, options: randomOptions(random), manifestEditBytesMax: 1500 }),
);
