/** Replays the corpus: what was broken on purpose is still caught, what was rare still holds. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BREAKABLE } from '../../src/lessons/breaker.ts';
import { simulate } from '../../src/lessons/simulate.ts';
import { type CorpusEntry, UNSEEN, corpusLine, parseCorpus } from '../support/corpus.ts';

const CORPUS = parseCorpus(readFileSync(join(import.meta.dirname, 'corpus.jsonl'), 'utf8'));
/** When the system changes, a seed may tell another story: then one of its neighbours must catch what is broken. */
const NEIGHBOURS = 12;
/** A second of a quiet machine at most; a busy one takes longer. */
const TIMEOUT_MS = 60_000;

/** Whether the seed or, if it tells another story by now, one soon after it is caught. */
function isCaught(entry: CorpusEntry): boolean {
  for (let i = 0; i <= NEIGHBOURS; i++)
    if (failureOf({ ...entry, seed: entry.seed + i }) !== undefined) return true;
  return false;
}

function failureOf({ profile, seed, omit, broken }: CorpusEntry): string | undefined {
  const { failure } = simulate(profile, {
    seed,
    ...(omit === undefined ? {} : { omit: new Set(omit) }),
    ...(broken === undefined ? {} : { broken }),
  });
  return failure === undefined ? undefined : `${failure.invariant}: ${failure.message}`;
}

describe('the corpus', () => {
  const broken = CORPUS.filter((entry) => entry.broken !== undefined);
  const sound = CORPUS.filter((entry) => entry.broken === undefined);

  test('has a seed for everything that can be broken', () => {
    const names = new Set(broken.map((entry) => entry.broken));
    const breakable = BREAKABLE.map(({ name }) => name);
    const missing = breakable.filter((name) => !names.has(name) && !UNSEEN.has(name));
    expect(missing, 'find seeds for them: npm run sim:corpus -- --find').toEqual([]);
    const needless = [...UNSEEN.keys()].filter((name) => names.has(name) || !breakable.includes(name));
    expect(needless).toEqual([]);
  });

  test.each(broken.map((entry) => [entry.broken, entry] as const))(
    'still catches %s',
    (name, entry) => {
      const why = `${entry.profile} ${entry.seed} and those after it catch ${name} no more: npm run sim:corpus -- --find finds another seed`;
      expect(isCaught(entry), why).toBe(true);
    },
    TIMEOUT_MS,
  );

  test.each(sound.map((entry) => [`${entry.profile} ${entry.seed}`, entry] as const))(
    'finds nothing: %s',
    (_, entry) => {
      expect(failureOf(entry)).toBeUndefined();
    },
    TIMEOUT_MS,
  );

  test('reads what it writes, and refuses what is no entry', () => {
    expect(parseCorpus(CORPUS.map(corpusLine).join('\n'))).toEqual(CORPUS);
    expect(() => parseCorpus('{"profile":"core","seed":1.5,"showed":""}')).toThrow('line 1');
    expect(() => parseCorpus('{"profile":"none","seed":1,"showed":""}')).toThrow('line 1');
  });
});
