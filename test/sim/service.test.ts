/** Messages within bounds and writes without gaps (I26, I28). */
import { describe, test } from 'vitest';
import { Availability, checkTraffic } from '../../src/sim/service.ts';
import { expectViolation } from './story.ts';

describe('I26 bounded traffic', () => {
  const quiet = { entries: 10, reads: 0, members: 3, durationMs: 100, heartbeatMs: 50 };

  test('what is needed passes, a flood does not', () => {
    checkTraffic({ ...quiet, messages: 100 });
    expectViolation('I26 bounded traffic', () => checkTraffic({ ...quiet, messages: 1000 }));
  });

  test('a longer time and more work allow more', () => {
    checkTraffic({ ...quiet, messages: 1000, entries: 50 });
    checkTraffic({ ...quiet, messages: 1000, durationMs: 2000 });
    checkTraffic({ ...quiet, messages: 1000, reads: 50 });
  });
});

describe('I28 availability', () => {
  test('writes that keep coming pass, a gap does not', () => {
    const watch = new Availability(100);
    watch.begin(0);
    for (let t = 50; t <= 500; t += 50) watch.acknowledged(t);
    watch.check(600);
    expectViolation('I28 availability', () => watch.check(601));
    expectViolation('I28 availability', () => watch.acknowledged(700));
  });

  test('outside its time nothing is expected', () => {
    const watch = new Availability(100);
    watch.check(1000);
    watch.acknowledged(1000);
    watch.begin(2000);
    watch.acknowledged(2050);
    watch.end(2100);
    watch.check(9000);
  });
});
