/**
 * Shows the UI on this terminal with a fake cluster that moves: for looking at it by hand, and for the tests in a real
 * terminal. `run-driver.ts` compiles and starts it. Options: `--nodes 5`, `--ascii`, `--staged`,
 * `--stray`. SIGUSR2 makes it throw.
 */
import { parseArgs } from 'node:util';
import { runTui } from '../../src/tui/launch.ts';
import { FakeCluster } from './fake-cluster.ts';

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '5' },
    ascii: { type: 'boolean', default: false },
    staged: { type: 'boolean', default: false },
    stray: { type: 'boolean', default: false },
  },
});

process.env['NODE_ENV'] ??= 'production';
const cluster = new FakeCluster(Number(values.nodes));
let beats = 0;
const timer = setInterval(() => {
  cluster.advance(100);
  beats += 1;
  if (beats % 10 === 0) cluster.write('tick', String(beats));
  if (beats % 10 === 5) cluster.emit(2, 3, 'commit', `commit ${beats}: acknowledged by n2 n3 n4`);
  if (values.stray && beats === 5) process.stderr.write('a stray line that must not spoil the screen\n');
}, 100);
process.on('SIGUSR2', () => {
  throw new Error('thrown by the driver');
});
const started = new Promise<FakeCluster>((resolve) => {
  setTimeout(() => {
    resolve(cluster);
    if (values.staged) setTimeout(() => cluster.stage(), 50);
  }, 300);
});
await runTui({ cluster: started, nodes: Number(values.nodes), ascii: values.ascii });
clearInterval(timer);
process.stdout.write(`driver: ended after ${beats > 0 ? 'some' : 'no'} beats\n`);
