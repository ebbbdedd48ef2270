import { describe, expect, it } from 'vitest';
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command } from '../../src/kv/command.ts';
import { describeCommand } from '../../src/kv/describe.ts';
import { latin1, utf8 } from '../../src/lib/bytes.ts';
import { HOSTILE_BYTES, HOSTILE_KEYS } from './hostile.ts';

function describeOf(command: Command): string {
  return describeCommand(encodeCommand(command));
}

describe('describeCommand()', () => {
  it('says what a command does', () => {
    const session = { id: 1, seq: 1, ackedBelow: 0 };
    expect(describeOf({ kind: 'set', key: 'x', value: utf8('5'), session })).toBe('x=5');
    expect(describeOf({ kind: 'delete', key: 'x' })).toBe('del x');
    expect(describeOf({ kind: 'cas', key: 'x', expected: utf8('1'), value: utf8('2') })).toBe('cas x 1→2');
    expect(describeOf({ kind: 'cas', key: 'x', expected: undefined, value: utf8('2') })).toBe('cas x ∅→2');
    expect(describeOf({ kind: 'openSession' })).toBe('open session');
    expect(describeOf({ kind: 'set', key: latin1(utf8('größe')), value: utf8('🦀') })).toBe('größe=🦀');
  });

  it('shortens keys and values', () => {
    const value = utf8('0123456789'.repeat(10));
    expect(describeOf({ kind: 'set', key: 'k', value })).toBe('k=012345678901234567890…');
    expect(describeOf({ kind: 'set', key: 'a-very-long-key-indeed', value })).toBe(
      'a-very-long…=0123456789…',
    );
    expect(describeOf({ kind: 'cas', key: 'a-long-key', expected: value, value })).toBe(
      'cas a-long-… 0123…→0123…',
    );
  });

  it('stays within 24 characters for any bytes', () => {
    const long = [
      ...HOSTILE_BYTES,
      utf8('🦀'.repeat(50)),
      new Uint8Array(500).fill(0xf0),
      utf8('a'.repeat(100_000)),
    ];
    for (const value of long) {
      for (const key of [...HOSTILE_KEYS, latin1(value).slice(0, 65_536)]) {
        for (const command of [
          { kind: 'set', key, value },
          { kind: 'delete', key },
          { kind: 'cas', key, expected: value, value },
        ] satisfies Command[]) {
          expect(Array.from(describeOf(command)).length).toBeLessThanOrEqual(24);
        }
      }
    }
  });

  it('names what it cannot read', () => {
    expect(describeCommand(utf8('nonsense'))).toBe('unreadable');
  });
});
