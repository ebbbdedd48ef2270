/** Nothing that is shown can act on the terminal. */
import { describe, expect, test } from 'vitest';
import { sanitize } from '../../src/lib/text.ts';

describe('sanitize', () => {
  test.each([
    ['escape', '\u001b[2J', '␛[2J'],
    ['bell, as in the end of an OSC 52 write', '\u001b]52;c;eA==\u0007', '␛]52;c;eA==␇'],
    ['C1 control sequence introducer', '\u009b31m', '⟨U+009B⟩31m'],
    ['C1 operating system command', '\u009d0;title\u009c', '⟨U+009D⟩0;title⟨U+009C⟩'],
    ['null', 'a\u0000b', 'a␀b'],
    ['line feed', 'a\nb', 'a␊b'],
    ['carriage return', 'real\rfake', 'real␍fake'],
    ['tab', 'a\tb', 'a␉b'],
    ['backspace', 'a\bb', 'a␈b'],
    ['delete', 'a\u007fb', 'a␡b'],
    ['right-to-left override', 'a\u202eb', 'a⟨U+202E⟩b'],
    ['left-to-right isolate', 'a\u2066b', 'a⟨U+2066⟩b'],
    ['Arabic letter mark', 'a\u061cb', 'a⟨U+061C⟩b'],
    ['soft hyphen', 'a\u00adb', 'a⟨U+00AD⟩b'],
    ['zero-width space', 'a\u200bb', 'a⟨U+200B⟩b'],
    ['zero-width joiner', 'a\u200db', 'a⟨U+200D⟩b'],
    ['word joiner', 'a\u2060b', 'a⟨U+2060⟩b'],
    ['byte order mark', '\ufeffa', '⟨U+FEFF⟩a'],
    ['line separator', 'a\u2028b', 'a⟨U+2028⟩b'],
    ['paragraph separator', 'a\u2029b', 'a⟨U+2029⟩b'],
    ['variation selector', 'a\ufe0fb', 'a⟨U+FE0F⟩b'],
    ['interlinear annotation', 'a\ufff9b', 'a⟨U+FFF9⟩b'],
    ['tag character', 'a\u{e0041}b', 'a⟨U+E0041⟩b'],
    ['lone high surrogate', 'a\ud800b', 'a⟨U+D800⟩b'],
    ['lone low surrogate', 'a\udfffb', 'a⟨U+DFFF⟩b'],
  ])('shows %s', (_name, text, shown) => {
    expect(sanitize(text)).toBe(shown);
  });

  test.each(['', 'plain text, 123', 'Grüße', '日本語', '𝄞 and 😀', 'e\u0301', '⟨U+202E⟩', '␛'])(
    'leaves %j alone',
    (text) => {
      expect(sanitize(text)).toBe(text);
    },
  );

  test('is idempotent, and leaves no control, bidi control or surrogate, for every code unit', () => {
    const bad: number[] = [];
    for (let code = 0; code <= 0xffff; code++) {
      const once = sanitize(`<${String.fromCharCode(code)}>`);
      const isSafe = once.isWellFormed() && !/\p{Cc}|\p{Cs}|\p{Zl}|\p{Zp}|\p{Bidi_Control}/u.test(once);
      if (!isSafe || sanitize(once) !== once) bad.push(code);
    }
    expect(bad).toEqual([]);
  });
});
