/** `npm run bench`: of the whole store, or with `engine` as first argument of the engines alone. */
const [what] = process.argv.slice(2);
if (what === 'engine') {
  process.argv.splice(2, 1);
  await import('./engine.ts');
} else await import('./bench.ts');
