/**
 * The one sanitizer for everything shown on a terminal. Keys, values, errors, peer names and log lines are
 * untrusted: raw escape sequences could move the cursor, fake links, or write the clipboard.
 */

/* C0, DEL, C1; Arabic letter mark; zero-width and bidi controls; line and paragraph separators; invisible operators;
 * byte order mark; interlinear annotations; tag characters and variation selectors; lone surrogates. */
const UNSAFE =
  // oxlint-disable-next-line no-control-regex -- matching control characters is the purpose
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]|\p{Variation_Selector}|\p{Surrogate}/gu;

/** `text` with every character that could act on a terminal made visible: ESC as ␛, others as ⟨U+202E⟩. Idempotent. */
export function sanitize(text: string): string {
  return text.replace(UNSAFE, (c) => {
    const code = c.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return '\u2421';
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, '0')}⟩`;
  });
}
