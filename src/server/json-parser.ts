/**
 * A strict JSON parser (RFC 8259) for input from outside. Unlike `JSON.parse` it refuses duplicate names, deep nesting,
 * lone surrogates and numbers that do not survive, and it never makes an object property from a name it read.
 */
import { OxideError } from '../lib/errors.ts';
import { sanitize } from '../lib/text.ts';

/** A JSON value. Objects are maps: `__proto__` is a name like any other. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | ReadonlyMap<string, JsonValue>;

/** Nesting of arrays and objects. */
export const JSON_DEPTH_MAX = 32;
/** Values in one text: bounds what a text of `[[],[],…` costs in memory. A request needs about a dozen. */
export const JSON_VALUES_MAX = 1024;

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const NUMBER_CHARS_MAX = 64;
// oxlint-disable-next-line no-control-regex -- RFC 8259 §7 wants them escaped
const CONTROL = /[\u0000-\u001f]/;
const SURROGATE = /\p{Surrogate}/u;

/**
 * Parses one JSON text.
 *
 * @throws OxideError `bad_request` with the position (0-based, in UTF-16 units) of what is wrong
 */
export function parseJson(text: string): JsonValue {
  return new Parser(text).parse();
}

/** A name from outside as it may be shown in a message: quoted, made harmless, cut. */
export function quoted(name: string): string {
  const shown = name.length > 64 ? `${name.slice(0, 64)}…` : name;
  return `"${sanitize(shown)}"`;
}

class Parser {
  readonly #text: string;
  #position = 0;
  #depth = 0;
  #values = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): JsonValue {
    const value = this.#value();
    this.#skipSpace();
    if (this.#position < this.#text.length) this.#fail('text after the end of the value');
    return value;
  }

  #value(): JsonValue {
    this.#values += 1;
    if (this.#values > JSON_VALUES_MAX) this.#fail(`more than ${JSON_VALUES_MAX} values`);
    this.#skipSpace();
    switch (this.#text.charAt(this.#position)) {
      case '{':
        return this.#nested(() => this.#object());
      case '[':
        return this.#nested(() => this.#array());
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #nested(read: () => JsonValue): JsonValue {
    this.#depth += 1;
    if (this.#depth > JSON_DEPTH_MAX) this.#fail(`nested deeper than ${JSON_DEPTH_MAX}`);
    this.#position += 1;
    const value = read();
    this.#depth -= 1;
    return value;
  }

  #object(): JsonValue {
    const members = new Map<string, JsonValue>();
    if (this.#take('}')) return members;
    do {
      this.#skipSpace();
      const start = this.#position;
      const name = this.#string();
      if (members.has(name)) this.#fail(`duplicate field ${quoted(name)}`, start);
      if (!this.#take(':')) this.#fail('":" expected');
      members.set(name, this.#value());
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('"," or "}" expected');
    return members;
  }

  #array(): JsonValue {
    const elements: JsonValue[] = [];
    if (this.#take(']')) return elements;
    do elements.push(this.#value());
    while (this.#take(','));
    if (!this.#take(']')) this.#fail('"," or "]" expected');
    return elements;
  }

  #string(): string {
    const start = this.#position;
    if (this.#text[start] !== '"') this.#fail('a string expected');
    let end = this.#text.indexOf('"', start + 1);
    while (end > 0 && this.#isEscaped(end)) end = this.#text.indexOf('"', end + 1);
    if (end < 0) this.#fail('a string without its closing quote', start);
    this.#position = end + 1;
    const raw = this.#text.slice(start + 1, end);
    if (raw.includes('\\')) return this.#unescaped(raw, start);
    if (CONTROL.test(raw)) this.#fail('a control character in a string', start);
    return raw;
  }

  /** Leaves escapes to the engine's own parser. */
  #unescaped(raw: string, start: number): string {
    const value = this.#decoded(raw, start);
    // The text itself is well-formed: only an escape can bring in half of a surrogate pair.
    if (SURROGATE.test(value)) this.#fail('a lone surrogate in a string', start);
    return value;
  }

  #decoded(raw: string, start: number): string {
    try {
      return String(JSON.parse(`"${raw}"`));
    } catch {
      return this.#fail('a control character or an invalid escape in a string', start);
    }
  }

  /** Whether the quote at `index` follows an odd number of backslashes. Each run of them is counted once: linear. */
  #isEscaped(index: number): boolean {
    let first = index;
    while (this.#text[first - 1] === '\\') first -= 1;
    return (index - first) % 2 === 1;
  }

  #number(): number {
    const start = this.#position;
    NUMBER.lastIndex = start;
    const match = NUMBER.exec(this.#text);
    if (match === null)
      return this.#fail(start === this.#text.length ? 'the end of the text' : 'a JSON value expected');
    const digits = match[0];
    this.#position += digits.length;
    const value = Number(digits);
    if (digits.length > NUMBER_CHARS_MAX || !Number.isFinite(value))
      this.#fail('a number out of range', start);
    return value;
  }

  #word<T extends JsonValue>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#position)) this.#fail('a JSON value expected');
    this.#position += word.length;
    return value;
  }

  /** Skips space and, if the next character is `wanted`, takes it. */
  #take(wanted: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#position] !== wanted) return false;
    this.#position += 1;
    return true;
  }

  #skipSpace(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#position);
      if (c !== 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d) return;
      this.#position += 1;
    }
  }

  #fail(what: string, position: number = this.#position): never {
    throw new OxideError('bad_request', `Cannot parse JSON: ${what} at position ${position}`);
  }
}
