#!/usr/bin/env node
/** Entry of the `oxide-kv` command: checks Node's version before anything newer is parsed, then starts the CLI. */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    `Oxide-KV needs Node.js 20.19 or newer; this is ${process.versions.node}. Get a newer one from https://nodejs.org\n`,
  );
  process.exitCode = 1;
} else {
  // React's development build is several times slower; it reads this when it is imported.
  process.env['NODE_ENV'] ||= 'production';
  // https://no-color.org: any non-empty value. The colour library of the terminal UI knows only FORCE_COLOR.
  if ((process.env['NO_COLOR'] ?? '') !== '') process.env['FORCE_COLOR'] = '0';
  const { main } = await import('../src/cli/main.ts');
  await main();
}
