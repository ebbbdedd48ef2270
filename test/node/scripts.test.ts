/** Every script under scripts/ does what is written in it. `npx vitest run test/node/scripts.test.ts -u` rewrites; read the diff. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { NodeScript } from '../support/node-script.ts';
import { replay } from '../support/raft-script.ts';

const root = fileURLToPath(new URL('scripts', import.meta.url));
const scripts = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => statSync(join(root, name)).isFile())
  .toSorted();

describe('node scripts', () => {
  it.each(scripts)('%s', async (name) => {
    const path = join(root, name);
    const script = new NodeScript();
    const source = readFileSync(path, 'utf8');
    expect(source.startsWith('# '), 'a script opens with its story').toBe(true);
    await expect(replay(source, (command) => script.run(command))).toMatchFileSnapshot(path);
  });
});
