import { describe, expect, it } from 'vitest';
import { decodeCommand, encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command } from '../../src/kv/command.ts';
import { concatBytes, equalBytes, utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import { Random } from '../../src/lib/random.ts';
import { HOSTILE_BYTES, HOSTILE_KEYS } from './hostile.ts';

const SESSION = { id: 7, seq: 1, ackedBelow: 0 };
const LARGE_SESSION = {
  id: Number.MAX_SAFE_INTEGER,
  seq: Number.MAX_SAFE_INTEGER,
  ackedBelow: Number.MAX_SAFE_INTEGER,
};

function commandsOf(key: string, value: Uint8Array): Command[] {
  const plain: Command[] = [
    { kind: 'set', key, value },
    { kind: 'delete', key },
    { kind: 'cas', key, expected: undefined, value },
    { kind: 'cas', key, expected: value, value: utf8('other') },
  ];
  return plain.flatMap((command) => [
    command,
    { ...command, session: SESSION },
    { ...command, session: LARGE_SESSION },
  ]);
}

const COMMANDS: readonly Command[] = [
  { kind: 'openSession' },
  ...HOSTILE_KEYS.flatMap((key, i) =>
    commandsOf(key, HOSTILE_BYTES.at(HOSTILE_BYTES.length - 1 - i) ?? utf8('')),
  ),
  ...commandsOf('k'.repeat(65_536), new Uint8Array(3_000).fill(0xa5)),
];

/** The decoded command, or undefined when it was refused. Any other failure goes through. */
function tryDecode(bytes: Uint8Array): Command | undefined {
  try {
    return decodeCommand(bytes);
  } catch (error) {
    if (error instanceof CorruptionError) return undefined;
    throw error;
  }
}

describe('encodeCommand(), decodeCommand()', () => {
  it('round-trip every kind, with hostile keys and values', () => {
    for (const command of COMMANDS) expect(decodeCommand(encodeCommand(command))).toEqual(command);
  });

  it('round-trip out of the middle of a larger buffer', () => {
    for (const command of COMMANDS) {
      const whole = concatBytes([utf8('before'), encodeCommand(command), utf8('after')]);
      expect(decodeCommand(whole.subarray(6, whole.length - 5))).toEqual(command);
    }
  });

  it('keep to the documented layout', () => {
    const session = { id: 0x0102, seq: 3, ackedBelow: 2 };
    const bytes = encodeCommand({
      kind: 'cas',
      key: 'k\xff',
      expected: utf8('a'),
      value: utf8('bc'),
      session,
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      ['1303', '0201000000000000', '0300000000000000', '0200000000000000', '02000000', '6bff']
        .concat(['01000000', '61', '6263'])
        .join(''),
    );
  });

  it('give values as views of the input', () => {
    const bytes = encodeCommand({ kind: 'set', key: 'k', value: utf8('v') });
    const command = decodeCommand(bytes);
    expect(command.kind === 'set' && command.value.buffer === bytes.buffer).toBe(true);
  });
});

describe('encodeCommand()', () => {
  it('refuses a key that is not latin-1, and unsafe session numbers', () => {
    expect(() => encodeCommand({ kind: 'delete', key: 'Ā' })).toThrow('one byte a character');
    expect(() => encodeCommand({ kind: 'delete', key: 'k', session: { ...SESSION, seq: 0 } })).toThrow(
      'start at 1',
    );
    expect(() =>
      encodeCommand({ kind: 'delete', key: 'k', session: { ...SESSION, ackedBelow: 2 ** 53 } }),
    ).toThrow('safe range');
  });
});

describe('decodeCommand()', () => {
  it('refuses every proper prefix of a command without a value, with CorruptionError', () => {
    for (const command of commandsOf('key', utf8('')).filter(({ kind }) => kind === 'delete')) {
      const bytes = encodeCommand(command);
      for (let length = 0; length < bytes.length; length++) {
        expect(() => decodeCommand(bytes.subarray(0, length))).toThrow(CorruptionError);
      }
    }
  });

  it.each([
    ['no bytes', [], 'Cannot decode command: 0 bytes, expected at least 2'],
    ['an unknown kind', [0x16, 0], 'version and kind is 0x16'],
    ['another version', [0x21, 0, 0, 0, 0, 0], 'version and kind is 0x21'],
    ['an unknown flag', [0x11, 4, 0, 0, 0, 0], 'flags are 0x4'],
    ['an expected value outside cas', [0x11, 2, 0, 0, 0, 0, 0, 0, 0, 0], 'flags are 0x2'],
    ['bytes after openSession', [0x14, 0, 0], 'bytes after its end'],
    ['bytes after delete', [0x12, 0, 0, 0, 0, 0, 0], 'bytes after its end'],
    ['a key longer than the rest', [0x11, 0, 2, 0, 0, 0, 0x61], 'cut short within a field'],
    ['a huge key length', [0x11, 0, 0xff, 0xff, 0xff, 0xff], 'cut short within a field'],
    [
      'session 0',
      [0x12, 1, ...Array.from({ length: 24 }, () => 0), 0, 0, 0, 0],
      'session numbers out of range',
    ],
    [
      'an unsafe session',
      [0x12, 1, ...Array.from({ length: 24 }, () => 0xff), 0, 0, 0, 0],
      'session numbers',
    ],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => decodeCommand(Uint8Array.from(bytes))).toThrow(message);
    expect(() => decodeCommand(Uint8Array.from(bytes))).toThrow(CorruptionError);
  });

  it('accepts, of 100,000 mutated and random inputs, only those that encode to themselves', () => {
    const random = new Random('command fuzz');
    const small = COMMANDS.filter((command) => encodeCommand(command).length < 150);
    const seeds = small.map((command) => encodeCommand(command));
    let acceptedCount = 0;
    for (let round = 0; round < 100_000; round++) {
      const bytes = mutate(random, seeds);
      const command = tryDecode(bytes);
      if (command === undefined) continue;
      acceptedCount += 1;
      if (!equalBytes(encodeCommand(command), bytes))
        expect.fail(`two forms: ${Buffer.from(bytes).toString('hex')}`);
    }
    expect(acceptedCount).toBeGreaterThan(1_000);
    expect(acceptedCount).toBeLessThan(90_000);
  });
});

function mutate(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  if (random.chance(0.2)) {
    return Uint8Array.from({ length: random.int(0, 40) }, () => random.int(0, 255));
  }
  const bytes = Uint8Array.from(seeds.at(random.int(0, seeds.length - 1)) ?? []);
  for (let i = random.int(1, 3); i > 0 && bytes.length > 0; i--) {
    bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
  }
  return random.chance(0.3) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
}
