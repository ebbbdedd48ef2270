/** Two engines that are told the same random stories give the same answers. */
import { describe, expect, test } from 'vitest';

import { Random } from '../../src/lib/random.ts';
import { type EngineFactory, Story } from '../support/version-model.ts';

/** Each story has a name, which repeats it: it is in the name of the test. */
export function sameAnswers(
  name: string,
  factories: { readonly a: EngineFactory; readonly b: EngineFactory },
  size: { readonly stories: number; readonly steps: number } = { stories: 20, steps: 400 },
): void {
  describe(`Same answers: ${name}`, () => {
    for (let i = 1; i <= size.stories; i++) {
      const seed = `answers/${i}`;
      test(`story ${seed}`, () => {
        const random = new Random(seed);
        const a = factories.a(random.fork('a'));
        const b = factories.b(random.fork('b'));
        const answers = new Story(a, b, random).run(size.steps);
        a.close();
        b.close();
        expect(answers).toBeGreaterThan(0);
      });
    }
  });
}
