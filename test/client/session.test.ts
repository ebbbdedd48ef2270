/** Numbers of a session: ascending, acknowledged from below, and never far ahead of the oldest write. */
import { expect, test } from 'vitest';
import { Session } from '../../src/client/session.ts';

test('Session gives ascending numbers and acknowledges below the lowest without an answer', async () => {
  const session = new Session(7);
  expect([await session.begin(), await session.begin(), await session.begin()]).toEqual([1, 2, 3]);
  expect(session.tag(3)).toEqual({ id: 7, seq: 3, ackedBelow: 1 });
  session.end(2);
  expect(session.tag(3)).toEqual({ id: 7, seq: 3, ackedBelow: 1 });
  session.end(1);
  expect(session.tag(3)).toEqual({ id: 7, seq: 3, ackedBelow: 3 });
  session.end(3);
  expect(await session.begin()).toBe(4);
  expect(session.tag(4)).toEqual({ id: 7, seq: 4, ackedBelow: 4 });
});

test('Session holds a write back that would run 1,024 ahead of the oldest one', async () => {
  const session = new Session(7);
  for (let seq = 1; seq <= 1024; seq++) expect(await session.begin()).toBe(seq);
  for (let seq = 2; seq <= 1024; seq++) session.end(seq);
  const order: string[] = [];
  const next = session.begin().then((seq) => order.push(`began ${seq}`));
  await new Promise(setImmediate);
  order.push('answered 1');
  session.end(1);
  await next;
  expect(order).toEqual(['answered 1', 'began 1025']);
});
