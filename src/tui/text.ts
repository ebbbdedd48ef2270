/**
 * Text of known width. Everything from outside passes `display` once; after that every character is one whose width
 * all terminals agree on, so that counting cells is exact and a border never moves.
 */
import { sanitize } from '../lib/text.ts';

/** Characters of a value that are looked at; the rest of a long one could not be shown anyway. */
const DISPLAY_UNITS_MAX = 256;

/** One cell wide everywhere: Latin, Greek, Cyrillic, punctuation, arrows, operators, the marks `sanitize` makes. */
const NARROW =
  '\\u0020-\\u007e\\u00a1-\\u00ac\\u00ae-\\u02ff\\u0370-\\u0482\\u048a-\\u052f\\u2010-\\u2027\\u2030-\\u205e' +
  '\\u20a0-\\u20bf\\u2100-\\u218b\\u2190-\\u2319\\u2400-\\u2426\\u2500-\\u25fc\\u27e8\\u27e9\\uff61-\\uff9d';
/** Two cells wide everywhere: Han, kana, Hangul syllables and full-width forms, as of Unicode 6. */
const WIDE =
  '\\u3001-\\u3029\\u3030-\\u303e\\u3041-\\u3096\\u309b-\\u30ff\\u3105-\\u312d\\u3131-\\u3163\\u3165-\\u318e' +
  '\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7a3\\uf900-\\ufaff\\uff01-\\uff60\\uffe0-\\uffe6\\u{20000}-\\u{2fffd}';
/* Terminals disagree on emoji, combining marks, joined and right-to-left scripts: those are shown by number. */
const DISPUTED = new RegExp(`[^${NARROW}${WIDE}]`, 'gu');
const WIDE_ONE = new RegExp(`[${WIDE}]`, 'u');
const ASCII = /^[\u0020-\u007e]*$/;

/**
 * `text` from outside, safe to show: the only place where the screen sanitizes. Idempotent; at most a few hundred
 * characters come back, whatever the length of `text`.
 *
 * @param ascii show every character outside ASCII by number
 */
export function display(text: string, ascii: boolean): string {
  if (text.length <= DISPLAY_UNITS_MAX && ASCII.test(text)) return text;
  const cut = text.length > DISPLAY_UNITS_MAX ? `${text.slice(0, cutAt(text))}…` : text;
  const safe = sanitize(cut).replace(
    DISPUTED,
    (c) => `⟨U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
  );
  return ascii ? asciiOf(safe) : safe;
}

/** Where to cut a long text without splitting a surrogate pair. */
function cutAt(text: string): number {
  const code = text.charCodeAt(DISPLAY_UNITS_MAX - 1);
  return code >= 0xd800 && code < 0xdc00 ? DISPLAY_UNITS_MAX - 1 : DISPLAY_UNITS_MAX;
}

function asciiOf(text: string): string {
  return text.replace(/[^\u0020-\u007e]/gu, (c) => {
    const code = c.codePointAt(0) ?? 0;
    if (c === '⟨') return '<';
    if (c === '⟩') return '>';
    if (c === '…') return '~';
    if (code >= 0x2400 && code <= 0x241f) return `^${String.fromCharCode(code - 0x2400 + 0x40)}`;
    if (code === 0x2421) return '^?';
    return `<U+${code.toString(16).toUpperCase().padStart(4, '0')}>`;
  });
}

/** Cells that `text` takes. It must hold only characters that `display` lets through, or our own glyphs. */
export function width(text: string): number {
  if (ASCII.test(text)) return text.length;
  let cells = 0;
  for (const c of text) cells += WIDE_ONE.test(c) ? 2 : 1;
  return cells;
}

/** The longest beginning of `text` that fits `cells`; an ellipsis in its last cell tells that something is missing. */
export function clip(text: string, cells: number, ellipsis = '…'): string {
  if (cells <= 0) return '';
  if (width(text) <= cells) return text;
  let used = 0;
  let kept = '';
  for (const c of text) {
    const next = used + (WIDE_ONE.test(c) ? 2 : 1);
    if (next > cells - 1) break;
    kept += c;
    used = next;
  }
  return kept + ellipsis;
}

/** `text` clipped and padded to exactly `cells`. */
export function fit(text: string, cells: number, ellipsis = '…'): string {
  const shown = clip(text, cells, ellipsis);
  return shown + ' '.repeat(Math.max(0, cells - width(shown)));
}

/** As {@link fit}, aligned to the right. */
export function fitRight(text: string, cells: number, ellipsis = '…'): string {
  const shown = clip(text, cells, ellipsis);
  return ' '.repeat(Math.max(0, cells - width(shown))) + shown;
}

/** Words of `text` in lines of at most `cells`, at most `linesMax` of them; the last one is clipped when more is left. */
export function wrap(text: string, cells: number, linesMax: number, ellipsis = '…'): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (width(longer) <= cells || line === '') {
      line = longer;
    } else if (lines.length === linesMax - 1) {
      line = `${line} ${word}`;
    } else {
      lines.push(clip(line, cells, ellipsis));
      line = word;
    }
  }
  lines.push(clip(line, cells, ellipsis));
  return lines;
}
