/** Messages within bounds and writes without gaps (I26, I28). */
import { describe, test } from 'vitest';
import { Availability, TrafficMeter, checkTraffic } from '../../src/sim/service.ts';
import { expectViolation } from './story.ts';

describe('I26 bounded traffic', () => {
  const quiet = { copies: 30, reads: 0, members: 3, durationMs: 100, heartbeatMs: 50 };

  test('what is needed passes, a flood does not', () => {
    checkTraffic({ ...quiet, messages: 132 });
    checkTraffic({ ...quiet, messages: 1320 });
    expectViolation('I26 bounded traffic', () => checkTraffic({ ...quiet, messages: 1321 }));
  });

  test('a longer time and more work allow more', () => {
    checkTraffic({ ...quiet, messages: 2000, copies: 50 });
    checkTraffic({ ...quiet, messages: 2000, durationMs: 2000 });
    checkTraffic({ ...quiet, messages: 2000, reads: 50 });
  });

  test('is of what came since the meter began', () => {
    const meter = new TrafficMeter({ members: 3, heartbeatMs: 50 });
    meter.worked(1, 5000, 0);
    meter.begin(1000);
    meter.worked(1, 40, 0);
    meter.check(1000);
    meter.worked(1, 1, 0);
    expectViolation('I26 bounded traffic', () => meter.check(1000));
    meter.check(1050);
    meter.worked(1, 40, 1);
    meter.check(1050);
    meter.worked(1, 40, 0);
    expectViolation('I26 bounded traffic', () => meter.check(1050));
    meter.asked();
    meter.check(1050);
  });

  test('does not count the log with which a node starts', () => {
    const meter = new TrafficMeter({ members: 3, heartbeatMs: 50 });
    meter.begin(0);
    meter.started(2);
    meter.worked(2, 41, 100);
    expectViolation('I26 bounded traffic', () => meter.check(0));
    meter.worked(2, 0, 100);
    meter.check(0);
  });
});

describe('I28 availability', () => {
  test('writes that keep coming pass, a gap does not', () => {
    const watch = new Availability(100, 0);
    for (let t = 50; t <= 500; t += 50) watch.acknowledged(t);
    watch.check(600);
    expectViolation('I28 availability', () => watch.check(601));
    expectViolation('I28 availability', () => watch.acknowledged(700));
  });
});
