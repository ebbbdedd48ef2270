/** What clients may be told: one answer each, of a suitable kind, and the same answer to the same command. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import type { Reply, Request } from '../../src/net/protocol.ts';
import { Invariants } from '../../src/sim/invariants.ts';
import { expectViolation } from './story.ts';

function set(session?: readonly [id: number, seq: number, ackedBelow?: number]): Request {
  const base = { kind: 'set', key: utf8('k'), value: utf8('v') } as const;
  if (session === undefined) return base;
  const [id, seq, ackedBelow = 0] = session;
  return { ...base, session: { id, seq, ackedBelow } };
}

/** A compare-and-set at 5 that saw this instead. */
function saw(text: string): Reply {
  return { kind: 'mismatch', index: 5, actual: utf8(text) };
}

/** A judge that has seen these requests answered, in order, with ids from 1 on. */
function judgeOf(...exchanges: readonly (readonly [Request, Reply])[]): Invariants {
  const judge = new Invariants({ voters: [1] });
  for (const [i, [request, reply]] of exchanges.entries()) {
    judge.submitted(i + 1, request);
    judge.replied(i + 1, reply);
  }
  return judge;
}

describe('I30 one answer', () => {
  test('a second answer is found', () => {
    const judge = judgeOf([set(), { kind: 'ok', index: 1 }]);
    expectViolation('I30 one answer', () => judge.replied(1, { kind: 'ok', index: 1 }));
  });

  test('an answer to a request that was lost with its node is found', () => {
    const judge = judgeOf();
    judge.submitted(1, set());
    judge.lost(1);
    expectViolation('I30 one answer', () => judge.replied(1, { kind: 'ok', index: 1 }));
  });

  test('an answer to something else is found, a refusal suits all', () => {
    judgeOf([
      { kind: 'get', key: utf8('k') },
      { kind: 'error', code: 'unavailable', message: '' },
    ]);
    expectViolation('I30 one answer', () =>
      judgeOf([
        { kind: 'get', key: utf8('k') },
        { kind: 'ok', index: 1 },
      ]),
    );
    expectViolation('I30 one answer', () =>
      judgeOf([set(), { kind: 'mismatch', index: 1, actual: undefined }]),
    );
  });
});

describe('I30 classified errors', () => {
  test('a code that is not on the list is found', () => {
    const reply: Reply = JSON.parse('{"kind":"error","code":"EIO","message":"i/o error"}');
    expectViolation('I30 classified errors', () => judgeOf([set(), reply]));
  });
});

describe('I18 exactly once', () => {
  test('a command that is asked again has the same answer', () => {
    judgeOf([set([1, 1]), { kind: 'ok', index: 5 }], [set([1, 1]), { kind: 'ok', index: 5 }]);
    expectViolation('I18 exactly once', () =>
      judgeOf([set([1, 1]), { kind: 'ok', index: 5 }], [set([1, 1]), { kind: 'ok', index: 6 }]),
    );
  });

  test('an answer is equal in all its bytes', () => {
    const cas: Request = {
      kind: 'cas',
      key: utf8('k'),
      expected: undefined,
      value: utf8('v'),
      session: { id: 1, seq: 1, ackedBelow: 0 },
    };
    judgeOf([cas, saw('a')], [cas, saw('a')]);
    expectViolation('I18 exactly once', () => judgeOf([cas, saw('a')], [cas, saw('b')]));
  });

  test('two writes at one index are found', () => {
    judgeOf([set(), { kind: 'ok', index: 5 }], [set(), { kind: 'ok', index: 6 }]);
    expectViolation('I18 exactly once', () =>
      judgeOf([set(), { kind: 'ok', index: 5 }], [set(), { kind: 'ok', index: 5 }]),
    );
    expectViolation('I18 exactly once', () =>
      judgeOf([set([1, 1]), { kind: 'ok', index: 5 }], [set([1, 2]), { kind: 'ok', index: 5 }]),
    );
  });

  test('a snapshot may end where a write stands', () => {
    const compact: Request = { kind: 'compact' };
    expect(() =>
      judgeOf([set(), { kind: 'ok', index: 5 }], [compact, { kind: 'ok', index: 5 }]),
    ).not.toThrow();
  });
});
