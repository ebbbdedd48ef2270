/** Some of what `npm run attack` does with failing calls: one call of a few, with every error. */
import { describe, expect, test } from 'vitest';
import { CARELESS } from './careless.ts';
import { attackByFaults } from './fault-attack.ts';
import { SCENARIOS } from './scenarios.ts';

const STRIDE = 11;

describe('failing calls', { timeout: 120_000 }, () => {
  test.each(SCENARIOS)('$name', (scenario) => {
    const { runs, violations } = attackByFaults(scenario, STRIDE);
    expect(violations).toEqual([]);
    expect(runs).toBeGreaterThan(0);
  });

  test('a product that hides what the disk said is found out', () => {
    expect(attackByFaults(CARELESS, 1).violations.join()).toContain('lost what was acknowledged');
  });
});
