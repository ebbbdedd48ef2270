/** Every script under scripts/ does what is written in it, on both engines. `npx vitest run -u test/kv` rewrites; read the diff. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { MemoryEngine } from '../../src/storage/memory-engine.ts';
import { KvScript } from '../support/kv-script.ts';
import { ModelEngine } from '../support/model-engine.ts';
import { replay } from '../support/raft-script.ts';

const root = fileURLToPath(new URL('scripts', import.meta.url));
const scripts = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => statSync(join(root, name)).isFile())
  .toSorted();

describe('kv scripts', () => {
  it.each(scripts)('%s', async (name) => {
    const path = join(root, name);
    const source = readFileSync(path, 'utf8');
    expect(source.startsWith('# '), 'a script opens with its story').toBe(true);
    const model = new KvScript(new ModelEngine());
    const shown = replay(source, (command) => model.run(command));
    const memory = new KvScript(new MemoryEngine());
    expect(replay(source, (command) => memory.run(command))).toBe(shown);
    await expect(shown).toMatchFileSnapshot(path);
  });
});
