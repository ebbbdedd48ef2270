/** Looks up a broken rule or duty by its name, for simulations, mutants and lessons. */
import { OxideError } from '../lib/errors.ts';
import { DUTIES } from '../node/duties.ts';
import { RULES } from '../raft/rules.ts';
import type { Breaker } from '../sim/host.ts';
import { BROKEN_DUTIES } from './broken-duties.ts';
import { BROKEN_RULES } from './broken-rules.ts';

/** Everything that can be broken, with what is wrong in one sentence. */
export const BREAKABLE: readonly { readonly name: string; readonly what: string }[] = [
  ...BROKEN_RULES,
  ...BROKEN_DUTIES,
].map(({ name, what }) => ({ name, what }));

/** @throws OxideError for a name that is not there */
export const breaker: Breaker = (name) => {
  if (name === undefined) return { rules: RULES, duties: DUTIES };
  const rule = BROKEN_RULES.find((twin) => twin.name === name);
  if (rule !== undefined) return { rules: rule.rules, duties: DUTIES };
  const duty = BROKEN_DUTIES.find((twin) => twin.name === name);
  if (duty !== undefined) return { rules: RULES, duties: duty.duties };
  throw new OxideError('bad_request', `There is no broken rule "${name}"`);
};
