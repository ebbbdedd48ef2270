/** The text of `--help`, made from what the commands declare. */
import type { OptionSpec } from './args.ts';
import { usageLine } from './args.ts';
import type { Command } from './command.ts';

const WIDTH = 96;

/** Help of one command: usage, description, every option, examples. */
export function commandHelp(command: Command): string {
  const lines = [`Usage: ${usageLine(command)}`, ''];
  for (const paragraph of command.description) lines.push(...wrap(paragraph, WIDTH), '');
  const options: readonly OptionSpec[] = [
    ...command.options,
    { name: 'help', short: 'h', help: 'Show this help' },
  ];
  lines.push('Options:', ...columns(options.map((option) => [optionName(option), option.help])), '');
  lines.push('Examples:');
  for (const example of command.examples) lines.push(`  # ${example.why}`, `  ${example.line}`);
  return `${lines.join('\n')}\n`;
}

/** Help of the whole program. */
export function programHelp(version: string, commands: readonly { name: string; summary: string }[]): string {
  const lines = [
    `Oxide-KV ${version}: a distributed key-value store on Raft whose nodes are real threads`,
    '',
    'Usage: oxide-kv COMMAND [options]',
    '',
    'Commands:',
    ...columns(commands.map((command) => [command.name, command.summary])),
    '',
    'Options:',
    ...columns([
      ['-h, --help', 'Show this help; oxide-kv help COMMAND shows that of a command'],
      ['    --version', 'Print the version'],
    ]),
    '',
    'Examples:',
    '  # Watch five nodes, break them, and see Raft repair it',
    '  oxide-kv demo',
    '  # A cluster for programs, then a write and a read from another terminal',
    '  oxide-kv serve',
    '  oxide-kv set greeting hello',
    '  oxide-kv get greeting',
    '',
    'Exit codes: 0 done, 1 not found or refused, 64 wrong usage, 70 internal error, 130 interrupted',
  ];
  return `${lines.join('\n')}\n`;
}

function optionName(option: OptionSpec): string {
  const short = option.short === undefined ? '    ' : `-${option.short}, `;
  const value = option.value === undefined ? '' : ` ${option.value}`;
  return `${short}--${option.name}${value}${option.variadic === true ? '…' : ''}`;
}

function columns(rows: readonly (readonly [string, string])[]): readonly string[] {
  const left = Math.max(...rows.map(([name]) => name.length)) + 4;
  return rows.flatMap(([name, text]) => {
    const [first = '', ...rest] = wrap(text, WIDTH - left);
    return [`  ${name}`.padEnd(left) + first, ...rest.map((line) => ' '.repeat(left) + line)];
  });
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines;
}
