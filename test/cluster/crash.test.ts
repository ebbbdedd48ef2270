/** Real threads that die: nothing acknowledged is lost, nothing is applied twice, and the cluster goes on. */
import { describe, expect, test } from 'vitest';
import { Random } from '../../src/lib/random.ts';
import { Ledger } from '../live/ledger.ts';
import { Writers, audit } from '../live/writers.ts';
import { accountOf, converged, eventsOf, followersOf, sleep, started, until } from './support.ts';

describe('ClusterNode.crash()', () => {
  test('of the leader: writes go on, and it catches up once restarted', async () => {
    const cluster = await started();
    const client = cluster.client();
    await client.set('before', '1');
    const old = await cluster.leader();
    await old.crash();
    expect(old.state).toBe('crashed');
    expect(cluster.view().nodes[old.id - 1]?.reason).toBe('crashed on purpose');
    for (let i = 0; i < 20; i++) await client.set(`after/${i}`, String(i));
    expect((await cluster.leader()).id).not.toBe(old.id);
    await old.restart();
    await converged(cluster);
    expect(accountOf(cluster, old.id)?.keyCount).toBe(21);
    const reader = cluster.client({ node: old.id });
    expect(await reader.getText('before')).toBe('1');
    expect(await reader.scan('after/')).toHaveLength(20);
  });

  test('of the leader while everybody sleeps: the others notice by themselves', async () => {
    const cluster = await started({ sleepAfterMs: 150 });
    const events = eventsOf(cluster);
    await cluster.client().set('a', '1');
    const isAsleep = (id: number): boolean =>
      events
        .findLast(({ node, kind }) => node === id && kind === 'quiesce')
        ?.text.startsWith('falls asleep') ?? false;
    await until('everybody sleeps', () => cluster.nodes.every(({ id }) => isAsleep(id)));
    const { leader, term } = cluster.view();
    await cluster.node(leader).crash();
    await until('another leads', () => ![0, leader].includes(cluster.view().leader));
    expect(cluster.view().term).toBeGreaterThan(term);
    expect(events.map(({ text }) => text)).toContain(`wakes: the connection to n${leader} broke`);
  });

  test('of all nodes: everything acknowledged is there when they are back', async () => {
    const cluster = await started();
    const client = cluster.client();
    const ledger = new Ledger();
    const writers = new Writers({ ledger, clients: [cluster.client()], seed: 'all', lanes: 16 });
    for (let round = 0; round < 3; round++) {
      await writers.nextAcknowledgement();
      await sleep(100);
      await Promise.all(cluster.nodes.map((node) => node.crash()));
      await Promise.all(cluster.nodes.map((node) => node.restart()));
      expect(await audit(client, ledger)).toEqual([]);
    }
    await writers.stop();
    expect(writers.violations).toEqual([]);
    expect(await audit(client, ledger)).toEqual([]);
    expect(ledger.totals.acknowledged).toBeGreaterThan(100);
  });

  test('fifty times under load: the ledger of acknowledged writes agrees with every node', async () => {
    const cluster = await started();
    const random = new Random('fifty');
    const ledger = new Ledger();
    const clients = Array.from({ length: 8 }, () => cluster.client());
    const writers = new Writers({ ledger, clients, seed: 'fifty', lanes: 4 });
    const startedMs = performance.now();
    let crashes = 0;
    while (crashes < 50) {
      await sleep(random.int(0, 80));
      const first = random.int(0, 2);
      const count = random.chance(0.4) ? 3 : random.chance(0.5) ? 2 : 1;
      const victims = cluster.nodes.filter((_, i) => (i - first + 3) % 3 < count);
      await Promise.all(victims.map((node) => node.crash()));
      await Promise.all(victims.map((node) => node.restart()));
      crashes += count;
    }
    await writers.nextAcknowledgement();
    await writers.stop();
    expect(writers.violations).toEqual([]);
    for (const { id } of cluster.nodes) {
      expect(await audit(cluster.client({ node: id }), ledger)).toEqual([]);
    }
    await converged(cluster);
    const { acknowledged, unknown } = ledger.totals;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(
      `${crashes} crashes in ${seconds} s: ${acknowledged} writes acknowledged, ${unknown} unknown, 0 lost\n`,
    );
    expect(acknowledged).toBeGreaterThan(100);
  }, 120_000);

  test('never makes a retried write happen twice', async () => {
    const cluster = await started();
    const client = cluster.client({ timeoutMs: 30_000 });
    await client.set('counter', '0');
    let count = 0;
    const stopping = new AbortController();
    const counting = (async () => {
      while (!stopping.signal.aborted) {
        // Nobody else writes: a compare that fails can only have met its own first attempt.
        expect(await client.cas('counter', String(count), String(count + 1))).toBe(true);
        count += 1;
      }
    })();
    for (let round = 0; round < 5; round++) {
      const before = count;
      await until('the counter moves', () => count >= before + 20);
      const leader = await cluster.leader();
      await leader.crash();
      await leader.restart();
    }
    stopping.abort();
    await counting;
    expect(await client.getText('counter')).toBe(String(count));
  });

  test('of a follower for long: it comes back through a snapshot, and sessions survive', async () => {
    const cluster = await started({ snapshotEntries: 200 });
    const client = cluster.client();
    const events = eventsOf(cluster);
    await client.set('key/0', 'old');
    const [follower] = followersOf(cluster);
    if (follower === undefined) throw new Error('There is no follower');
    await follower.crash();
    for (let i = 0; i < 1000; i += 50)
      await Promise.all(Array.from({ length: 50 }, (_, k) => client.set(`key/${(i + k) % 100}`, `${i + k}`)));
    // A snapshot may have set out before the crash was noticed: the log waits for it, for a few snapshots at most.
    await until('the leader forgets the beginning of its log', async () => {
      await Promise.all(Array.from({ length: 50 }, () => client.set('key/0', 'again')));
      return (accountOf(cluster, cluster.view().leader)?.first ?? 0) > 400;
    });
    await follower.restart();
    await converged(cluster);
    await until('the snapshot is told', () =>
      events.some(({ kind, text }) => kind === 'snapshot' && text.startsWith(`sends n${follower.id}`)),
    );
    const account = accountOf(cluster, follower.id);
    expect(account?.keyCount).toBe(100);
    expect(account?.snapshotIndex).toBeGreaterThan(400);

    // The session was opened before the snapshot; a write of it through the node that took the snapshot must be known.
    for (const node of cluster.nodes) if (node.id !== follower.id) await node.crash();
    for (const node of cluster.nodes) if (node.id !== follower.id) await node.restart();
    await client.set('key/0', 'new');
    const reader = cluster.client({ node: follower.id });
    expect(await reader.getText('key/0')).toBe('new');
    expect(await reader.getText('key/99')).toBe('999');
  });

  test('with autoRestart: the node comes back by itself', async () => {
    const cluster = await started({ autoRestart: true });
    const victim = await cluster.leader();
    await victim.crash();
    await until('it runs again', () => victim.state === 'running');
    await cluster.client().set('a', 'b');
    await converged(cluster);
  });
});

describe('ClusterNode.wipe()', () => {
  test('makes the others refuse the node, with the reason, and the cluster goes on without it', async () => {
    const cluster = await started();
    const client = cluster.client();
    const events = eventsOf(cluster);
    await client.set('a', '1');
    const [victim] = followersOf(cluster);
    if (victim === undefined) throw new Error('There is no follower');
    await victim.wipe();
    expect(victim.state).toBe('crashed');
    await client.set('a', '2');
    await victim.restart();
    await until('every other node refuses it', () => {
      const refusals = events.filter(({ kind, text }) => kind === 'refuse' && text.includes(`n${victim.id}`));
      return new Set(refusals.map(({ node }) => node)).size === 2;
    });
    const refusal = events.find(({ kind }) => kind === 'refuse')?.text;
    expect(refusal).toBe(
      `refuses n${victim.id}: n${victim.id} is on a new data directory, so it has forgotten what it voted and acknowledged: remove n${victim.id} and add it again, with "oxide-kv member remove ${victim.id}" and "oxide-kv member add ${victim.id} ADDR"`,
    );
    await client.set('a', '3');
    expect(await client.getText('a')).toBe('3');
    // It knows nothing, and must not answer as if it did.
    const alone = cluster.client({ node: victim.id, timeoutMs: 500 });
    await expect(alone.get('a')).rejects.toMatchObject({ code: 'unavailable' });
    expect(accountOf(cluster, victim.id)?.keyCount).toBe(0);
  });
});
