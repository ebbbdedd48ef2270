import { describe, expect, it } from 'vitest';
import { unreachable } from '../../src/lib/assert.ts';
import { KeyDecoder, type Key } from '../../src/tui/keys.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Keys in short: `a`, `<up>`, `^c`, `paste:text`. */
function words(keys: readonly Key[]): readonly string[] {
  return keys.map((key) => {
    switch (key.kind) {
      case 'char':
        return key.char;
      case 'named':
        return `<${key.name}>`;
      case 'ctrl':
        return `^${key.letter}`;
      case 'paste':
        return `paste:${key.text}`;
      default:
        return unreachable(key);
    }
  });
}

function decode(...reads: readonly (string | Uint8Array)[]): readonly string[] {
  const decoder = new KeyDecoder();
  const keys = reads.flatMap((read) => decoder.push(typeof read === 'string' ? bytes(read) : read));
  return words([...keys, ...decoder.flush()]);
}

describe('KeyDecoder.push()', () => {
  it('names the keys that prompts and panels need', () => {
    expect(decode('a?\r\n\t\u007f\b\u0003\u001a')).toEqual([
      'a',
      '?',
      '<enter>',
      '<enter>',
      '<tab>',
      '<backspace>',
      '<backspace>',
      '^c',
      '^z',
    ]);
    expect(
      decode('\u001b[A\u001bOB\u001b[C\u001b[D\u001b[Z\u001b[3~\u001b[5~\u001b[6~\u001b[H\u001bOF'),
    ).toEqual([
      '<up>',
      '<down>',
      '<right>',
      '<left>',
      '<shiftTab>',
      '<delete>',
      '<pageUp>',
      '<pageDown>',
      '<home>',
      '<end>',
    ]);
  });

  it('decodes every split of a sequence alike', () => {
    const text = 'x\u001b[A\u001b[200~a b\r\u001b[201~é漢\u001b[<0;10;5Mz\u001b[Z';
    const all = bytes(text);
    const whole = decode(text);
    expect(whole).toEqual(['x', '<up>', 'paste:a b\r', 'é', '漢', 'z', '<shiftTab>']);
    for (let cut = 1; cut < all.length; cut++) {
      expect(decode(all.subarray(0, cut), all.subarray(cut)), `cut at ${cut}`).toEqual(whole);
    }
    expect(decode(...Array.from(all, (byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  it('takes a lone ESC for the Esc key only once nothing more has come', () => {
    const decoder = new KeyDecoder();
    expect(decoder.push(bytes('\u001b'))).toEqual([]);
    expect(decoder.isPending).toBe(true);
    expect(words(decoder.push(bytes('[B')))).toEqual(['<down>']);
    expect(decoder.isPending).toBe(false);
    expect(decoder.push(bytes('\u001b'))).toEqual([]);
    expect(words(decoder.flush())).toEqual(['<escape>']);
    expect(words(decoder.push(bytes('\u001b\u001b[A')))).toEqual(['<escape>', '<up>']);
  });

  it('swallows what nobody asked for, and no more', () => {
    const reports = [
      '\u001b[M !!', // mouse, oldest form: three raw bytes behind the M
      '\u001b[<35;3;7m',
      '\u001b[I',
      '\u001b[O',
      '\u001b]11;rgb:0000/0000/0000\u0007',
      '\u001b]52;c;cGFzc3dvcmQ=\u001b\\',
      '\u001bP1$r0m\u001b\\',
      '\u001b[?62;4c',
      '\u001b[12;40R',
      '\u001b[11~',
      '\u001bOP',
      '\u001bc', // Alt-c must not crash a node
    ];
    for (const report of reports) expect(decode(`${report}z`), JSON.stringify(report)).toEqual(['z']);
  });

  it('drops bytes that are not UTF-8 and C1 controls', () => {
    expect(decode(Uint8Array.of(0xff, 0x61, 0xc3, 0x62, 0x80, 0x63, 0xc2, 0x9b, 0x64))).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
  });

  it('keeps a paste whole and bounded', () => {
    const decoder = new KeyDecoder();
    decoder.push(bytes('\u001b[200~'));
    for (let i = 0; i < 100; i++) decoder.push(bytes('q'.repeat(1000)));
    expect(decoder.flush()).toEqual([]);
    const keys = decoder.push(bytes('\u001b[201~c'));
    expect(keys).toHaveLength(2);
    expect(keys[0]).toEqual({ kind: 'paste', text: 'q'.repeat(65_536) });
    expect(keys[1]).toEqual({ kind: 'char', char: 'c' });
  });
});
