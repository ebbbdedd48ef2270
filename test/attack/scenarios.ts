/** All scenarios. */
import { CHECKPOINT_SCENARIOS } from './checkpoint-scenarios.ts';
import { DIRECTORY_SCENARIOS } from './directory-scenarios.ts';
import { LOG_SCENARIOS } from './log-scenarios.ts';
import { NODE_SCENARIOS } from './node-scenarios.ts';
import type { Scenario } from './story.ts';

export const SCENARIOS: readonly Scenario[] = [
  ...LOG_SCENARIOS,
  ...CHECKPOINT_SCENARIOS,
  ...DIRECTORY_SCENARIOS,
  ...NODE_SCENARIOS,
];
