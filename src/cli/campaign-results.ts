/** The file of results: one line of JSON for each campaign, with when, where and on what it ran. */
import { appendFileSync } from 'node:fs';
import { cpus, platform } from 'node:os';

/** Appends a result. Throws what the file system throws. */
export function appendResult(file: string, result: Readonly<Record<string, unknown>>): void {
  const machine = `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}, ${platform()}`;
  const line = { at: new Date().toISOString(), node: process.version, machine, ...result };
  appendFileSync(file, `${JSON.stringify(line)}\n`);
}
