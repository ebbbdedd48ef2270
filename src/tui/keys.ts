/**
 * Decodes what a terminal sends into keys. Bytes arrive cut anywhere: in an arrow key, in a UTF-8 character, in a
 * paste. Reports nobody asked for (mouse, focus, answers to queries) are swallowed whole, so that none reads as keys.
 */

/** Keys that are no characters. */
export type KeyName =
  | 'enter'
  | 'escape'
  | 'tab'
  | 'shiftTab'
  | 'backspace'
  | 'delete'
  | 'up'
  | 'down'
  | 'left'
  | 'right'
  | 'home'
  | 'end'
  | 'pageUp'
  | 'pageDown';

export type Key =
  | { readonly kind: 'char'; readonly char: string }
  | { readonly kind: 'named'; readonly name: KeyName }
  /** Ctrl with a lower-case letter. */
  | { readonly kind: 'ctrl'; readonly letter: string }
  /** Text pasted as a whole (bracketed paste); may hold anything. */
  | { readonly kind: 'paste'; readonly text: string };

/** How long a lone ESC may wait for the rest of its sequence before it counts as the Esc key. */
export const ESCAPE_WAIT_MS = 40;

/** Bytes of an unfinished sequence that are kept; a longer one is dropped. */
const SEQUENCE_BYTES_MAX = 4096;
const PASTE_BYTES_MAX = 65_536;

const ESC = 0x1b;
const CSI_KEYS: ReadonlyMap<string, KeyName> = new Map([
  ['A', 'up'],
  ['B', 'down'],
  ['C', 'right'],
  ['D', 'left'],
  ['H', 'home'],
  ['F', 'end'],
  ['Z', 'shiftTab'],
  ['1~', 'home'],
  ['3~', 'delete'],
  ['4~', 'end'],
  ['5~', 'pageUp'],
  ['6~', 'pageDown'],
  ['7~', 'home'],
  ['8~', 'end'],
]);

/** What one look at the front of the buffer found: bytes used up, and the key they make, if any. `used` 0: more is needed. */
interface Found {
  readonly used: number;
  readonly key: Key | undefined;
}

const NEED_MORE: Found = { used: 0, key: undefined };

/** One terminal's input. Holds at most one unfinished sequence. */
export class KeyDecoder {
  #bytes: Uint8Array = new Uint8Array(0);
  #paste: number[] | undefined;

  /** Whether an unfinished sequence waits; after {@link ESCAPE_WAIT_MS} without input call {@link flush}. */
  get isPending(): boolean {
    return this.#bytes.length > 0;
  }

  /** The keys completed by these bytes, in order. */
  push(bytes: Uint8Array): readonly Key[] {
    const joined = new Uint8Array(this.#bytes.length + bytes.length);
    joined.set(this.#bytes);
    joined.set(bytes, this.#bytes.length);
    const keys: Key[] = [];
    let offset = 0;
    while (offset < joined.length) {
      const rest = joined.subarray(offset);
      const wasPasting = this.#paste !== undefined;
      const found = wasPasting ? this.#pasted(rest) : decodeOne(rest);
      if (found.used === 0) break;
      offset += found.used;
      if (found.key?.kind === 'paste' && !wasPasting) this.#paste = [];
      else if (found.key !== undefined) keys.push(found.key);
    }
    const rest = joined.subarray(offset);
    this.#bytes = rest.length > SEQUENCE_BYTES_MAX ? new Uint8Array(0) : rest.slice();
    return keys;
  }

  /** Nothing more came: a lone ESC is the Esc key; any other unfinished sequence is dropped. */
  flush(): readonly Key[] {
    if (this.#paste !== undefined) return [];
    const isEscape = this.#bytes.length === 1 && this.#bytes[0] === ESC;
    this.#bytes = new Uint8Array(0);
    return isEscape ? [{ kind: 'named', name: 'escape' }] : [];
  }

  /** Inside a bracketed paste everything up to `CSI 201 ~` is text. */
  #pasted(bytes: Uint8Array): Found {
    const paste = this.#paste ?? [];
    const end = indexOf(bytes, PASTE_END);
    const stop = end === -1 ? lastWhole(bytes) : end;
    for (let i = 0; i < stop && paste.length < PASTE_BYTES_MAX; i++) paste.push(bytes[i] ?? 0);
    if (end === -1) return { used: stop, key: undefined };
    const text = new TextDecoder().decode(Uint8Array.from(paste));
    this.#paste = undefined;
    return { used: end + PASTE_END.length, key: { kind: 'paste', text } };
  }
}

const PASTE_END: readonly number[] = [ESC, 0x5b, 0x32, 0x30, 0x31, 0x7e];

/** Bytes that surely belong to the paste: all but a beginning of its end mark. */
function lastWhole(bytes: Uint8Array): number {
  for (let keep = Math.min(PASTE_END.length - 1, bytes.length); keep > 0; keep--) {
    const tail = bytes.subarray(bytes.length - keep);
    if (tail.every((byte, i) => byte === PASTE_END[i])) return bytes.length - keep;
  }
  return bytes.length;
}

function indexOf(bytes: Uint8Array, mark: readonly number[]): number {
  for (let i = 0; i + mark.length <= bytes.length; i++) {
    if (mark.every((byte, j) => bytes[i + j] === byte)) return i;
  }
  return -1;
}

function decodeOne(bytes: Uint8Array): Found {
  const first = bytes[0] ?? 0;
  if (first === ESC) return decodeEscape(bytes);
  if (first === 0x0d || first === 0x0a) return named(1, 'enter');
  if (first === 0x09) return named(1, 'tab');
  if (first === 0x7f || first === 0x08) return named(1, 'backspace');
  if (first >= 1 && first <= 26) {
    return { used: 1, key: { kind: 'ctrl', letter: String.fromCharCode(first + 0x60) } };
  }
  if (first < 0x20) return { used: 1, key: undefined };
  return decodeCharacter(bytes, first);
}

function decodeCharacter(bytes: Uint8Array, first: number): Found {
  const length =
    first < 0x80 ? 1 : first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length === 0 || first >= 0xf5) return { used: 1, key: undefined };
  for (let i = 1; i < Math.min(length, bytes.length); i++) {
    if (((bytes[i] ?? 0) & 0xc0) !== 0x80) return { used: i, key: undefined };
  }
  if (bytes.length < length) return NEED_MORE;
  const char = new TextDecoder().decode(bytes.subarray(0, length));
  const code = char.codePointAt(0) ?? 0;
  const isText = code >= 0x20 && (code < 0x7f || code > 0x9f) && code !== 0xfffd;
  return { used: length, key: isText ? { kind: 'char', char } : undefined };
}

function decodeEscape(bytes: Uint8Array): Found {
  const second = bytes[1];
  if (second === undefined) return NEED_MORE;
  if (second === 0x5b) return decodeCsi(bytes);
  if (second === 0x4f) {
    const third = bytes[2];
    if (third === undefined) return NEED_MORE;
    return byName(3, String.fromCharCode(third));
  }
  // OSC, DCS, SOS, PM, APC: an answer to a query; it ends with BEL or ESC \.
  if (second === 0x5d || second === 0x50 || second === 0x58 || second === 0x5e || second === 0x5f) {
    for (let i = 2; i < bytes.length; i++) {
      if (bytes[i] === 0x07) return { used: i + 1, key: undefined };
      if (bytes[i] === ESC && bytes[i + 1] === 0x5c) return { used: i + 2, key: undefined };
    }
    return NEED_MORE;
  }
  if (second === ESC) return named(1, 'escape');
  // Alt with a key is not that key: "Alt-c" must not crash a node.
  const rest = decodeOne(bytes.subarray(1));
  return rest.used === 0 ? NEED_MORE : { used: rest.used + 1, key: undefined };
}

function decodeCsi(bytes: Uint8Array): Found {
  for (let i = 2; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === ESC) return { used: i, key: undefined }; // broken off by the next sequence
    if (byte < 0x40 || byte > 0x7e) continue;
    const body = String.fromCharCode(...bytes.subarray(2, i + 1));
    // The oldest mouse report carries three raw bytes behind its final one.
    if (body === 'M') return bytes.length < i + 4 ? NEED_MORE : { used: i + 4, key: undefined };
    if (body === '200~') return { used: i + 1, key: { kind: 'paste', text: '' } };
    return byName(i + 1, body);
  }
  return NEED_MORE;
}

function byName(used: number, body: string): Found {
  const name = CSI_KEYS.get(body);
  return name === undefined ? { used, key: undefined } : named(used, name);
}

function named(used: number, name: KeyName): Found {
  return { used, key: { kind: 'named', name } };
}
