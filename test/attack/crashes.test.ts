/** Some of what `npm run attack` does with power cuts: a few disks for each moment of each scenario. */
import { describe, expect, test } from 'vitest';
import { CARELESS } from './careless.ts';
import { CRASH_GATE, attackByCrashes } from './crash-attack.ts';
import { SCENARIOS } from './scenarios.ts';

/** The largest take two seconds of a processor, and others may be using it. */
const TIMEOUT_MS = 120_000;

describe('power cuts', { timeout: TIMEOUT_MS }, () => {
  test.each(SCENARIOS)('$name', (scenario) => {
    const { states, violations } = attackByCrashes(scenario, CRASH_GATE);
    expect(violations).toEqual([]);
    expect(states).toBeGreaterThan(5);
  });

  test.each(SCENARIOS)('$name: without its syncs it would be found out', (scenario) => {
    const { violations } = attackByCrashes(scenario, { ...CRASH_GATE, isNeverSynced: true });
    expect(violations).not.toEqual([]);
  });

  test('a product that syncs nothing is found out', () => {
    expect(attackByCrashes(CARELESS, CRASH_GATE).violations.join()).toContain('lost what was acknowledged');
  });
});
