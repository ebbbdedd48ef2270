import { describe, expect, it } from 'vitest';
import { jsonLine, plainLine, runPlain, type LineOutput } from '../../src/tui/plain.ts';
import { FakeCluster } from './fake-cluster.ts';

class Lines implements LineOutput {
  text = '';
  isFull = false;
  #drain: (() => void) | undefined;

  write(text: string): boolean {
    this.text += text;
    return !this.isFull;
  }

  once(_event: 'drain', listener: () => void): void {
    this.#drain = listener;
  }

  drain(): void {
    this.isFull = false;
    const listener = this.#drain;
    this.#drain = undefined;
    listener?.();
  }
}

describe('runPlain()', () => {
  it('writes one line an event, up to level 1, until it is stopped', () => {
    const cluster = new FakeCluster(5);
    const out = new Lines();
    const stop = runPlain(cluster, { json: false, out });
    cluster.stage();
    stop();
    cluster.emit(1, 1, 'role', 'too late');
    expect(out.text).toBe(
      [
        '12.480 user partition {n1} | {n2 n3 n4 n5}',
        '12.480 n3 became candidate in T4: nothing heard from the leader for 312 ms',
        '12.480 n3 became leader of T4: votes of n2 n3 n4',
        '12.480 n5 crashed by the user: memory gone, disk stays',
        '',
      ].join('\n'),
    );
  });

  it('writes JSON lines that keep every character and hold only ASCII', () => {
    const cluster = new FakeCluster(3);
    const out = new Lines();
    runPlain(cluster, { json: true, out });
    const text = 'set x \u001b]52;c;QQ==\u0007\u009b31m\u202e漢\ud83d';
    cluster.emit(3, 2, 'drop', text);
    expect(out.text).toMatch(/^[\u0020-\u007e]+\n$/);
    expect(JSON.parse(out.text)).toEqual({ atMs: 12_480, node: 2, level: 3, kind: 'drop', text });
  });

  it('drops and counts events while the reader is behind', () => {
    const cluster = new FakeCluster(3);
    const out = new Lines();
    runPlain(cluster, { json: false, out });
    out.isFull = true;
    for (let i = 0; i < 1500; i++) cluster.emit(1, 1, 'role', `event ${i}`);
    expect(out.text.trim().split('\n')).toHaveLength(1);
    out.drain();
    const lines = out.text.trim().split('\n');
    expect(lines).toHaveLength(1002);
    expect(lines.at(-1)).toBe('499 events dropped: the reader was too slow');
  });
});

describe('plainLine() and jsonLine()', () => {
  it('let nothing through that could act on a terminal', () => {
    const text = 'a\u001b[8mb\u009dc\u0007\b\r\u202e\u200bd';
    const event = { atMs: 1, node: 0, level: 0, kind: 'user', text } as const;
    expect(plainLine(event)).toBe('0.001 user a␛[8mb⟨U+009D⟩c␇␈␍⟨U+202E⟩⟨U+200B⟩d');
    // oxlint-disable-next-line no-control-regex -- matching control characters is the purpose
    expect(jsonLine(event)).not.toMatch(/[\u0000-\u001f\u007f-\uffff]/);
  });
});
