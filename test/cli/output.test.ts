/** Output: harmless on a terminal, quiet on a broken pipe. Also the nearest word. */
import { describe, expect, test } from 'vitest';
import { editDistance, nearest } from '../../src/cli/nearest.ts';
import { jsonText, Output } from '../../src/cli/output.ts';
import { MemorySink } from './fake-context.ts';

describe('Output', () => {
  test('a broken pipe drops the rest, resolves closed, and lets flush() pass', async () => {
    const sink = new MemorySink();
    const out = new Output(sink);
    out.write('before');
    sink.breakPipe();
    out.write('after');
    await out.closed;
    await out.flush();
    expect(sink.text).toBe('before');
    expect(out.isClosed).toBe(true);
  });

  test('line() makes foreign text harmless and stays one line', () => {
    const sink = new MemorySink();
    new Output(sink).line('a\u001b[2Jb\nc\u202e');
    expect(sink.text).toBe('a␛[2Jb␊c⟨U+202E⟩\n');
  });

  test('write() keeps bytes as they are', () => {
    const sink = new MemorySink();
    new Output(sink).write(new Uint8Array([0, 255, 27, 10]));
    expect([...sink.bytes]).toEqual([0, 255, 27, 10]);
  });
});

describe('jsonText()', () => {
  test.each([
    'plain',
    'ESC \u001b',
    'C1 \u009b',
    'bidi \u202e',
    'tag \u{e0041}',
    '"\\\n',
    '\ud800',
    'é 你 😀',
  ])('is harmless and parses back: %j', (text) => {
    const json = jsonText({ text });
    // oxlint-disable-next-line no-control-regex -- control characters are what must not be there
    expect(json).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e\u{e0041}]/u);
    expect(JSON.parse(json)).toEqual({ text });
  });
});

describe('nearest()', () => {
  const known = ['demo', 'serve', 'node', 'set', 'get', 'del', 'scan', 'cas', 'status'];
  test.each([
    ['sevre', 'serve'],
    ['srve', 'serve'],
    ['stat', 'status'],
    ['staus', 'status'],
    ['gt', 'get'],
    ['nodes', 'node'],
    ['dmeo', 'demo'],
    ['xyzzy', undefined],
    ['', undefined],
  ])('%s → %s', (typed, word) => {
    expect(nearest(typed, known)).toBe(word);
  });

  test('editDistance() counts a swap as one', () => {
    expect(editDistance('abcd', 'abdc')).toBe(1);
    expect(editDistance('', 'abc')).toBe(3);
    expect(editDistance('kitten', 'sitting')).toBe(3);
  });
});
