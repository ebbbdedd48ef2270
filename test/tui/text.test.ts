import { describe, expect, it } from 'vitest';
import { clip, display, fit, fitRight, width, wrap } from '../../src/tui/text.ts';
import { emulate } from './harness.ts';

describe('display()', () => {
  it('leaves common text alone and shows the rest by number', () => {
    expect(display('naïve ключ λ 漢字 かな 한국 €', false)).toBe('naïve ключ λ 漢字 かな 한국 €');
    expect(display('a\u001b[31mb', false)).toBe('a␛[31mb');
    expect(display('x\u202ey', false)).toBe('x⟨U+202E⟩y');
    expect(display('e\u0301', false)).toBe('e⟨U+0301⟩');
    expect(display('👩‍💻', false)).toBe('⟨U+1F469⟩⟨U+200D⟩⟨U+1F4BB⟩');
    expect(display('\ud800!', false)).toBe('⟨U+D800⟩!');
    expect(display('שלום', false)).not.toContain('ש');
  });

  it('is ASCII when asked', () => {
    expect(display('ü\u001b\u007f漢\u202e', true)).toBe('<U+00FC>^[^?<U+6F22><U+202E>');
  });

  it('looks at a bounded part of a long text and splits no pair', () => {
    expect(display('v'.repeat(1 << 20), false)).toBe(`${'v'.repeat(256)}…`);
    const pairs = display(`x${'😀'.repeat(200)}`, false);
    expect(pairs).not.toContain('U+D83D');
    expect(pairs.endsWith('…')).toBe(true);
  });

  it('is idempotent', () => {
    const texts = ['a\u001b[31m\u0085', '👩‍💻\ud800', '漢\u3000字', '\u2067x', 'e\u0301'];
    for (const text of texts) expect(display(display(text, false), false)).toBe(display(text, false));
  });
});

describe('width()', () => {
  it('agrees with a terminal for every character that display() lets through', async () => {
    // One line a character, a bar behind it: the column of the bar is the width.
    const characters: string[] = [];
    for (let code = 0x20; code < 0x1_0000; code++) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const c = String.fromCodePoint(code);
      if (display(c, false) === c) characters.push(c);
    }
    characters.push('\u{20000}', '\u{2a6df}');
    expect(characters.length).toBeGreaterThan(20_000);
    const perLine = 20;
    let wrong = '';
    for (let from = 0; from < characters.length; from += perLine * 400) {
      const part = characters.slice(from, from + perLine * 400);
      const lines: string[] = [];
      for (let i = 0; i < part.length; i += perLine) lines.push(part.slice(i, i + perLine).join('|'));
      const terminal = await emulate({ columns: 80, rows: lines.length }, lines.join('\r\n'));
      for (const [row, line] of lines.entries()) {
        const buffer = terminal.buffer.active.getLine(row);
        let column = 0;
        for (const c of line) {
          if (buffer?.getCell(column)?.getChars() !== c && c !== ' ') wrong += `${c} `;
          column += width(c);
        }
      }
      terminal.dispose();
    }
    expect(wrong).toBe('');
  });
});

describe('clip(), fit() and wrap()', () => {
  it('count cells, not characters', () => {
    expect(clip('abcdef', 4)).toBe('abc…');
    expect(clip('漢字漢', 4)).toBe('漢…');
    expect(clip('abc', 0)).toBe('');
    for (let cells = 0; cells < 9; cells++) {
      expect(width(fit('a漢字b', cells))).toBe(cells);
      expect(width(fitRight('a漢字b', cells))).toBe(cells);
    }
  });

  it('wrap() keeps to its lines and says when words are missing', () => {
    expect(wrap('one two three four', 9, 2)).toEqual(['one two', 'three fo…']);
    expect(wrap('abcdefghij', 5, 3)).toEqual(['abcd…']);
    expect(wrap('', 5, 3)).toEqual(['']);
  });
});
