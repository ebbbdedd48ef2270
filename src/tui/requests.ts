/** What people type at the write and read prompts. The words are those of the `oxide-kv` commands. */

import { unreachable } from '../lib/assert.ts';

export type ClientRequest =
  | { readonly kind: 'set'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  | { readonly kind: 'cas'; readonly key: string; readonly expected: string; readonly value: string }
  | { readonly kind: 'get'; readonly key: string };

export type Parsed =
  | { readonly kind: 'ok'; readonly request: ClientRequest }
  /** `why`: one sentence that says how it should look. */
  | { readonly kind: 'error'; readonly why: string };

/** `x 1`, `set x 1`, `del x` or `cas x 1 2`. A value may hold blanks; a key may not. */
export function parseWrite(text: string): Parsed {
  const [first = '', ...rest] = words(text, 2);
  if (first === '') return wrong('Type a key and a value: x 1');
  if (first === 'del') {
    const [key = '', more] = words(rest[0] ?? '', 2);
    if (key === '' || more !== undefined) return wrong('A delete takes one key: del x');
    return ok({ kind: 'delete', key });
  }
  if (first === 'cas') {
    const [key = '', expected = '', value = ''] = words(rest[0] ?? '', 3);
    if (value === '') return wrong('A compare-and-set takes key, old and new value: cas x 1 2');
    return ok({ kind: 'cas', key, expected, value });
  }
  const [key = '', value = ''] = first === 'set' ? words(rest[0] ?? '', 2) : [first, rest[0]];
  if (value === '') return wrong('A write takes a key and a value: x 1');
  return ok({ kind: 'set', key, value });
}

/** `x` or `get x`. */
export function parseRead(text: string): Parsed {
  const all = words(text, 3);
  const [key = '', more] = all[0] === 'get' ? all.slice(1) : all;
  if (key === '' || more !== undefined) return wrong('A read takes one key: x');
  return ok({ kind: 'get', key });
}

/** The request as it would be typed. */
export function requestText(request: ClientRequest): string {
  switch (request.kind) {
    case 'set':
      return `set ${request.key} ${request.value}`;
    case 'delete':
      return `del ${request.key}`;
    case 'cas':
      return `cas ${request.key} ${request.expected} ${request.value}`;
    case 'get':
      return `get ${request.key}`;
    default:
      return unreachable(request);
  }
}

/** At most `countMax` words; the last one is the rest of the line as it stands. */
function words(text: string, countMax: number): readonly string[] {
  const found: string[] = [];
  let rest = text.trim();
  while (rest !== '' && found.length < countMax - 1) {
    const end = rest.search(/\s/);
    if (end === -1) break;
    found.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  if (rest !== '') found.push(rest);
  return found;
}

function ok(request: ClientRequest): Parsed {
  return { kind: 'ok', request };
}

function wrong(why: string): Parsed {
  return { kind: 'error', why };
}
