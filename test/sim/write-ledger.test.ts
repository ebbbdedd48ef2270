/** What clients can know of the store without a search: lost writes, stale reads, failures that happened. */
import { describe, test } from 'vitest';
import { WriteLedger } from '../../src/sim/write-ledger.ts';
import { expectViolation } from './story.ts';

/** A ledger in which these values of `k` were written and acknowledged, at 10, 20 and so on. */
function ledgerOf(...values: readonly (string | undefined)[]): WriteLedger {
  const ledger = new WriteLedger();
  for (const [i, value] of values.entries()) {
    const begun = ledger.begin('k', { value });
    ledger.wrote('k', value, (i + 1) * 10, begun);
  }
  return ledger;
}

describe('I25 fresh reads', () => {
  test('the last acknowledged value is fresh, and so is any that is not acknowledged yet', () => {
    const ledger = ledgerOf('a', 'b');
    ledger.begin('k', { value: 'c' });
    ledger.read('k', 'b', ledger.begin('k'));
    ledger.read('k', 'c', ledger.begin('k'));
  });

  test('a value that was overwritten before the read began is stale', () => {
    const ledger = ledgerOf('a', 'b');
    expectViolation('I25 fresh reads', () => ledger.read('k', 'a', ledger.begin('k')));
  });

  test('a value that was overwritten while the read went on is not', () => {
    const ledger = ledgerOf('a');
    const begun = ledger.begin('k');
    ledger.wrote('k', 'b', 20, ledger.begin('k', { value: 'b' }));
    ledger.read('k', 'a', begun);
  });

  test('absence needs a deletion to explain it', () => {
    const deleted = ledgerOf('a', undefined);
    deleted.read('k', undefined, deleted.begin('k'));
    const doubtful = ledgerOf('a');
    doubtful.begin('k', { value: undefined });
    doubtful.unknown('k', undefined);
    doubtful.read('k', undefined, doubtful.begin('k'));
    const refused = ledgerOf('a');
    refused.begin('k', { value: undefined });
    refused.failed('k', undefined);
    expectViolation('I25 fresh reads', () => refused.read('k', undefined, refused.begin('k')));
    const written = ledgerOf('a', undefined, 'b');
    expectViolation('I25 fresh reads', () => written.read('k', undefined, written.begin('k')));
  });

  test('a command takes effect behind everything that was acknowledged before it began', () => {
    const ledger = ledgerOf('a');
    const begun = ledger.begin('other', { value: 'x' });
    expectViolation('I25 fresh reads', () => ledger.wrote('other', 'x', 9, begun));
    expectViolation('I25 fresh reads', () => ledger.decided('other', 10, begun));
    ledger.decided('other', 11, begun);
  });
});

describe('I19 durability', () => {
  test('a value that nobody wrote, or whose write certainly failed, is never read', () => {
    const ledger = ledgerOf('a');
    expectViolation('I19 durability', () => ledger.read('k', 'ghost', ledger.begin('k')));
    ledger.begin('k', { value: 'b' });
    ledger.failed('k', 'b');
    expectViolation('I19 durability', () => ledger.read('k', 'b', ledger.begin('k')));
  });

  test('a write that was read cannot have failed', () => {
    const ledger = ledgerOf('a');
    ledger.begin('k', { value: 'b' });
    ledger.read('k', 'b', ledger.begin('k'));
    expectViolation('I19 durability', () => ledger.failed('k', 'b'));
  });

  test('in the end a key holds the last acknowledged value, or one of unknown fate', () => {
    const ledger = ledgerOf('a', 'b');
    ledger.begin('k', { value: 'c' });
    ledger.unknown('k', 'c');
    ledger.checkFinal('k', 'b');
    ledger.checkFinal('k', 'c');
    expectViolation('I19 durability', () => ledger.checkFinal('k', 'a'));
    expectViolation('I19 durability', () => ledger.checkFinal('k', undefined));
    expectViolation('I19 durability', () => ledger.checkFinal('k', 'ghost'));
  });

  test('in the end a deleted key is absent, and so is one that a deletion of unknown fate may have hit', () => {
    const deleted = ledgerOf('a', undefined);
    deleted.checkFinal('k', undefined);
    expectViolation('I19 durability', () => deleted.checkFinal('k', 'a'));
    const doubtful = ledgerOf('a');
    doubtful.begin('k', { value: undefined });
    doubtful.unknown('k', undefined);
    doubtful.checkFinal('k', undefined);
    doubtful.checkFinal('k', 'a');
  });

  test('acknowledgements may come out of order: the index decides', () => {
    const ledger = new WriteLedger();
    const first = ledger.begin('k', { value: 'a' });
    const second = ledger.begin('k', { value: 'b' });
    ledger.wrote('k', 'b', 2, second);
    ledger.wrote('k', 'a', 1, first);
    ledger.checkFinal('k', 'b');
    expectViolation('I19 durability', () => ledger.checkFinal('k', 'a'));
  });

  test('a key that was never written is absent', () => {
    new WriteLedger().checkFinal('k', undefined);
  });
});
