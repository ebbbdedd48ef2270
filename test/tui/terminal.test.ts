/** The UI in a real terminal: what it does there, and what a shell finds when it is gone. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openPty, PROMPT, type Pty } from './pty.ts';
import { compileDriver } from './run-driver.ts';

const WAIT_MS = 15_000;

let pty: Pty;
let driver = '';

beforeAll(() => {
  driver = compileDriver();
  pty = openPty();
}, 60_000);

afterAll(() => pty.close());

beforeEach(async () => {
  pty.resize(120, 40);
  pty.keys('clear; echo before', 'Enter');
  await until('a shell', () => /^before\s+ready\$/.test(pty.screen()));
});

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`Not within ${WAIT_MS} ms: ${what}\n${pty.screen()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const sees = (text: string): Promise<void> =>
  until(`"${text}" on the screen`, () => pty.screen().includes(text));

async function launch(...options: readonly string[]): Promise<void> {
  pty.keys(`node ${driver} ${options.join(' ')}`, 'Enter');
  await until('the cluster', () => pty.screen().includes('LIVE') && pty.screen().includes('Client results'));
}

/** The shell is back as it was: its text, echo, wrap and cursor, no alternate screen; the last exit code is `code`. */
async function expectShell(code: number, isResized = false): Promise<void> {
  await until('the alternate screen left', () => !pty.flags().isAlternate);
  const number = Math.floor(Math.random() * 1e6);
  pty.keys(`echo exit=$? n=$((${number}+1))`, 'Enter');
  await sees(`exit=${code} n=${number + 1}`);
  const text = pty.screen();
  if (!isResized) expect(text).toContain('before');
  expect(text, 'typing is echoed').toContain(`${PROMPT} echo exit=$? n=$((${number}+1))`);
  expect(pty.flags()).toEqual({ isAlternate: false, isCursorShown: true, isWrapping: true });
  expect(pty.history(), 'nothing of the screen stays behind').not.toContain('Replicated log');
}

/** The process that shows the UI, not the shells around it. */
function driverPid(): number {
  const all = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' });
  const line = all.split('\n').find((row) => row.trim().split(/\s+/)[1] === 'node' && row.includes(driver));
  if (line === undefined) throw new Error('The driver does not run');
  return Number(line.trim().split(/\s+/)[0]);
}

describe('the UI in a terminal', () => {
  it('obeys keys, also fast ones, and quits on q', async () => {
    await launch();
    pty.keys('3', 'c');
    await sees('user crash n3');
    await sees('crashed by the user');
    pty.keys('w');
    await sees('Enter send');
    pty.keys('C-u', 'k', 'Space', '7', 'Enter');
    await sees('at index');
    expect(pty.flags()).toMatchObject({ isAlternate: true, isCursorShown: false });
    pty.keys('q');
    await expectShell(0);
    expect(pty.screen()).toContain('driver: ended');
  });

  it('quits on Ctrl-C', async () => {
    await launch();
    pty.keys('C-c');
    await expectShell(0);
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
  ] as const)('gives the terminal back on %s', async (signal, code) => {
    await launch();
    process.kill(driverPid(), signal);
    await expectShell(code);
  });

  it('gives the terminal back on an exception, and shows it where it can be read', async () => {
    await launch();
    process.kill(driverPid(), 'SIGUSR2');
    await expectShell(70);
    expect(pty.screen()).toContain('Error: thrown by the driver');
  });

  it('suspends on Ctrl-Z and comes back whole', async () => {
    await launch();
    pty.keys('C-z');
    await sees('Stopped');
    expect(pty.flags()).toEqual({ isAlternate: false, isCursorShown: true, isWrapping: true });
    pty.keys('fg', 'Enter');
    await sees('Client results');
    pty.keys('2');
    await sees('c crash n2');
    pty.keys('q');
    await expectShell(0);
  });

  it('follows the size of the window, down to too small and back', async () => {
    await launch();
    pty.resize(52, 14);
    await sees('Terminal too small: 52x14');
    pty.keys('c');
    pty.resize(80, 24);
    await sees('Replicated log');
    await until('every line in its place', () => pty.screen().split('\n')[23]?.includes('? help') === true);
    expect(pty.screen()).not.toContain('user crash');
    pty.keys('q');
    await expectShell(0, true);
  });

  it('keeps stray output off the screen', async () => {
    await launch('--stray');
    pty.keys('f');
    await sees('printed: a stray line');
    expect(
      pty
        .screen()
        .split('\n')
        .filter((line) => line.startsWith('a stray line')),
    ).toEqual([]);
    pty.keys('q');
    await expectShell(0);
  });

  it('shows something before Ink and the cluster are there', async () => {
    const beforeMs = Date.now();
    pty.keys(`node ${driver} --nodes 3`, 'Enter');
    await sees('OXIDE-KV');
    process.stdout.write(`first frame after ${Date.now() - beforeMs} ms\n`);
    pty.keys('q');
    await expectShell(0);
  });
});
