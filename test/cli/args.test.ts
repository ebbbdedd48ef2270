/** Reading command lines. */
import { describe, expect, test } from 'vitest';
import type { Syntax } from '../../src/cli/args.ts';
import { asksForHelp, readArgs, splitList, usageLine } from '../../src/cli/args.ts';
import { UsageError } from '../../src/cli/failure.ts';

const SYNTAX: Syntax = {
  name: 'get',
  positionals: ['KEY', '[VALUE]'],
  options: [
    { name: 'endpoint', short: 'e', value: 'HOST:PORT', list: true, help: '' },
    { name: 'timeout', value: 'MS', help: '' },
    { name: 'json', short: 'j', help: '' },
    { name: 'no-forward', help: '' },
    { name: 'peers', value: 'HOST:PORT', variadic: true, help: '' },
  ],
};

function refusal(argv: readonly string[]): { message: string; hint: string } {
  try {
    readArgs(SYNTAX, argv);
  } catch (error) {
    if (error instanceof UsageError) return { message: error.message, hint: error.hint };
    throw error;
  }
  throw new Error('Not refused');
}

describe('readArgs()', () => {
  test.each([
    { argv: ['k'], positionals: ['k'] },
    { argv: ['k', 'v'], positionals: ['k', 'v'] },
    { argv: ['k', '-'], positionals: ['k', '-'] },
    { argv: ['--json', 'k', 'v'], positionals: ['k', 'v'] },
    { argv: ['k', '--', '-5'], positionals: ['k', '-5'] },
    { argv: ['--', '--json'], positionals: ['--json'] },
    { argv: ['', ''], positionals: ['', ''] },
    { argv: ['k', '--peers', 'a', 'b'], positionals: ['k'] },
    { argv: ['--peers', 'a', 'b', '--json', 'k'], positionals: ['k'] },
    { argv: ['--peers=a', '--', 'k'], positionals: ['k'] },
  ])('finds the arguments of $argv', ({ argv, positionals }) => {
    expect(readArgs(SYNTAX, argv).positionals).toEqual(positionals);
  });

  test('collects lists from repetition, commas and following words', () => {
    const args = readArgs(SYNTAX, ['k', '-e', 'a,b', '--endpoint=c', '--peers', 'x', 'y,z', '--peers', 'w']);
    expect(args.list('endpoint')).toEqual(['a', 'b', 'c']);
    expect(args.list('peers')).toEqual(['x', 'y', 'z', 'w']);
    expect(args.list('json')).toEqual([]);
  });

  test('takes the last of several single values', () => {
    expect(readArgs(SYNTAX, ['k', '--timeout', '1', '--timeout', '2']).text('timeout')).toBe('2');
  });

  test('tells given switches from others', () => {
    const args = readArgs(SYNTAX, ['k', '-j']);
    expect([args.has('json'), args.has('no-forward')]).toEqual([true, false]);
  });

  test.each([
    { argv: [], message: 'Command "get" needs KEY', hint: 'Usage: oxide-kv get KEY [VALUE] [options]' },
    { argv: ['a', 'b', 'c'], message: 'Unexpected argument "c" for "get"' },
    { argv: ['k', '--jsno'], message: 'Unknown option --jsno for "get"', hint: 'Did you mean --json?' },
    { argv: ['k', '--forward'], message: 'Unknown option --forward for "get"' },
    {
      argv: ['k', '-5'],
      message: 'Unknown option -5 for "get"',
      hint: expect.stringContaining('behind "--"'),
    },
    { argv: ['k', '--json=yes'], message: 'Option --json takes no value, got "yes"' },
    { argv: ['k', '--timeout'], message: 'Option --timeout needs a value: --timeout MS' },
    { argv: ['k', '--timeout', '--json'], message: 'Option --timeout needs a value: --timeout MS' },
    { argv: ['k', '-e', '-j'], message: 'Option -e needs a value: -e HOST:PORT' },
    { argv: ['k', '--__proto__=1'], message: 'Unknown option --__proto__ for "get"' },
    { argv: ['k', '--constructor'], message: 'Unknown option --constructor for "get"' },
  ])('refuses $argv: $message', ({ argv, message, hint }) => {
    const refused = refusal(argv);
    expect(refused.message).toBe(message);
    if (hint !== undefined) expect(refused.hint).toEqual(hint);
  });
});

describe('Args.integer()', () => {
  test.each([
    ['5', 5],
    ['1', 1],
    ['10', 10],
  ])('reads %s', (text, value) => {
    expect(readArgs(SYNTAX, ['k', `--timeout=${text}`]).integer('timeout', { min: 1, max: 10 }, 7)).toBe(
      value,
    );
  });

  test.each(['0', '11', '-1', '1.5', '1e1', '0x5', ' 5', '', 'five', '9007199254740993'])(
    'refuses "%s"',
    (text) => {
      const args = readArgs(SYNTAX, ['k', `--timeout=${text}`]);
      expect(() => args.integer('timeout', { min: 1, max: 10 }, 7)).toThrow(
        `Option --timeout is "${text}", expected a whole number from 1 to 10`,
      );
    },
  );

  test('falls back when the option is not there', () => {
    expect(readArgs(SYNTAX, ['k']).integer('timeout', { min: 1, max: 10 }, undefined)).toBeUndefined();
  });
});

test('asksForHelp() sees help anywhere but behind "--"', () => {
  expect(asksForHelp(['a', '--bogus', '-h'])).toBe(true);
  expect(asksForHelp(['--help'])).toBe(true);
  expect(asksForHelp(['set', '--', '--help'])).toBe(false);
});

test('splitList() drops blanks', () => {
  expect(splitList([' a, b', '', ',c,'])).toEqual(['a', 'b', 'c']);
});

test('usageLine() names the arguments', () => {
  expect(usageLine(SYNTAX)).toBe('oxide-kv get KEY [VALUE] [options]');
});
