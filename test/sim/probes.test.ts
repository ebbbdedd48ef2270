/** Every probe is reached by a story of its own, and a quiet cluster reaches none of them. */
import { describe, expect, test } from 'vitest';
import { at } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import type { ErrorCode } from '../../src/lib/errors.ts';
import type { Reply, Request } from '../../src/net/protocol.ts';
import type { NodeEvent } from '../../src/node/status.ts';
import type { Config } from '../../src/raft/membership.ts';
import type { DownCause } from '../../src/sim/host.ts';
import { PROBES, type ProbeName } from '../../src/sim/probe-names.ts';
import { Probes } from '../../src/sim/probes.ts';
import { FakeNode } from './fake-node.ts';

/** Five nodes, of which n1 leads term 1, with a log of eleven entries that all have applied. */
class Stage {
  readonly probes: Probes = new Probes([1, 2, 3, 4, 5]);
  readonly nodes: readonly FakeNode[] = [1, 2, 3, 4, 5].map((id) => new FakeNode(id, [1, 2, 3, 4, 5]));
  readonly #lives: Map<number, number> = new Map();
  nowMs = 0;
  #nextId = 1;

  constructor() {
    for (const { id } of this.nodes) this.start(id);
    this.look();
    const leader = this.node(1).leads(1);
    for (const what of ['abcde', 'fghij']) {
      leader.append(1, what);
      for (const node of this.nodes) if (node !== leader) node.copies(leader);
      this.look();
      for (const node of this.nodes) node.commits(leader.entries.length);
      this.look();
    }
  }

  node(id: number): FakeNode {
    return at(this.nodes, id - 1);
  }

  start(id: number): FakeNode {
    this.nowMs += 1000;
    const life = (this.#lives.get(id) ?? 0) + 1;
    this.#lives.set(id, life);
    this.probes.started(id, life, this.nowMs);
    return this.node(id).restarts();
  }

  down(id: number, cause: DownCause = 'told', inTurn = false): void {
    this.nowMs += 1000;
    this.probes.wentDown(id, { cause, inTurn }, this.nowMs);
  }

  look(...ids: number[]): void {
    for (const id of ids.length === 0 ? [1, 2, 3, 4, 5] : ids) this.#see(id, []);
  }

  tell(id: number, kind: string, text: string): void {
    this.#see(id, [{ atMs: this.nowMs, level: 1, kind, text }]);
  }

  /** Shows a leader's view of its peers: that they hold the log up to these places. */
  peers(...matches: number[]): void {
    const ids = [2, 3, 4, 5];
    this.node(1).peers = matches.map((match, i) => ({
      id: at(ids, i),
      mode: 'replicate',
      match,
      next: match + 1,
    }));
    this.look(1);
  }

  configure(id: number, config: Partial<Config>): FakeNode {
    const node = this.node(id).append(1, 'c');
    node.config = { ...node.config, ...config };
    node.configIndex = node.entries.length;
    this.look(id);
    return node;
  }

  ask(node: number, request: Request): number {
    const id = this.#nextId++;
    this.probes.submitted(id, node, request);
    return id;
  }

  exchange(node: number, request: Request, reply: Reply): void {
    this.probes.replied(this.ask(node, request), reply);
  }

  refuse(code: ErrorCode): void {
    this.exchange(1, GET, { kind: 'error', code, message: '', leader: { id: 1, client: '' } });
  }

  #see(id: number, events: readonly NodeEvent[]): void {
    const node = this.node(id);
    const seen = node.show();
    this.probes.observed(id, seen, events, { termAt: (index) => node.entries[index - 1]?.term });
  }
}

const GET: Request = { kind: 'get', key: utf8('k') };
const SET: Request = { kind: 'set', key: utf8('k'), value: utf8('v') };
const TAGGED: Request = { ...SET, session: { id: 1, seq: 1, ackedBelow: 1 } };

/** n2 is elected in this term. */
function change(stage: Stage, term = 2): void {
  stage.node(2).leads(term);
  stage.look(2);
}

/** How each is reached. */
const STORIES: Readonly<Record<ProbeName, (stage: Stage) => void>> = {
  'two leaders at once': (stage) => change(stage),
  'two candidates in one term': (stage) => {
    for (const id of [2, 3]) {
      stage.node(id).term = 2;
      stage.node(id).role = 'candidate';
      stage.look(id);
    }
  },
  'candidate tried again': (stage) => {
    for (const term of [2, 3]) {
      stage.node(2).role = 'preCandidate';
      stage.look(2);
      stage.node(2).role = 'candidate';
      stage.node(2).term = term;
      stage.look(2);
    }
  },
  'candidate gave way': (stage) => stage.tell(2, 'role', 'candidate ⇒ follower in term 2: n3 leads term 2'),
  'candidate refused by a majority': (stage) =>
    stage.tell(2, 'role', 'candidate ⇒ follower in term 2: a majority refused term 2'),
  'three terms without a leader': (stage) => change(stage, 5),
  'leader stepped down without a majority': (stage) =>
    stage.tell(1, 'role', 'leader ⇒ follower in term 1: no answer from a majority for 300 ms'),
  'leader met a later term': (stage) => stage.tell(1, 'role', 'leader ⇒ follower in term 2: n2 is in term 2'),
  'same node leads in a later life': (stage) => {
    stage.down(1);
    stage.start(1);
    stage.look(1);
    stage.node(1).leads(2);
    stage.look(1);
  },
  'vote after a restart in the same term': (stage) => {
    stage.node(2).term = 2;
    stage.look(2);
    stage.down(2);
    stage.start(2);
    stage.look(2);
    stage.node(2).votes(2, 3);
    stage.look(2);
  },
  'vote refused to an older log': (stage) =>
    stage.tell(2, 'vote', 'refuses n3 its vote for term 2: log older: 1@1 < 3@1'),
  'vote refused in a spent term': (stage) =>
    stage.tell(2, 'vote', 'refuses n3 its vote for term 2: already voted for n4'),
  'pre-vote refused for a live leader': (stage) =>
    stage.tell(2, 'vote', 'refuses n3 its pre-vote for term 2: heard from the leader 5 ms ago'),
  'entries rejected': (stage) => stage.tell(2, 'reject', 'rejects entries of n1: no entry 9'),
  'log cut': (stage) => {
    stage.node(2).append(2, 'x');
    stage.look(2);
    stage.node(2).entries.pop();
    stage.look(2);
  },
  'log cut by two entries': (stage) => {
    stage.node(2).append(2, 'xy');
    stage.look(2);
    stage.node(2).entries.length -= 2;
    stage.look(2);
  },
  'ten entries committed at once': (stage) => {
    stage.node(2).append(1, 'klmnopqrst').commits(21);
    stage.look(2);
  },
  'ten entries wait at a leader': (stage) => {
    stage.node(1).append(1, 'klmnopqrst');
    stage.look(1);
  },
  'entry of an earlier term committed': (stage) => {
    stage.node(2).append(1, 'k');
    change(stage);
    stage.node(2).commits(13);
    stage.look(2);
  },
  'old entry on a majority, uncommitted (Figure 8)': (stage) => {
    stage.node(1).append(1, 'k').leads(2);
    stage.peers(12, 12, 0, 0);
  },
  'follower longer than its leader': (stage) => {
    stage.node(2).append(1, 'k');
    stage.look(2);
    stage.peers(11, 11, 11, 11);
  },
  'follower twenty entries behind': (stage) => {
    stage.node(1).append(1, 'klmnopqrst');
    stage.peers(1, 11, 11, 11);
  },
  'snapshot saved': (stage) => stage.tell(1, 'snapshot', 'saves a snapshot at 11'),
  'snapshot sent': (stage) => stage.tell(1, 'snapshot', 'sends n2 its snapshot at 11, 300 bytes'),
  'snapshot installed': (stage) =>
    stage.tell(2, 'snapshot', 'snapshot at 9 with n1: the log was too far behind and starts over'),
  'snapshot agreed with the log': (stage) =>
    stage.tell(2, 'snapshot', 'snapshot at 9 with n1: the log agrees with it and stays behind it'),
  'snapshot came while entries were in flight': (stage) => {
    stage.node(1).append(1, 'klm').commits(13);
    stage.look(1);
    const node = stage.node(2).append(1, 'kl').commits(13);
    node.first = 14;
    node.snapshotIndex = 13;
    stage.look(2);
  },
  'log compacted': (stage) => {
    stage.node(2).snapshotIndex = 11;
    stage.node(2).first = 5;
    stage.look(2);
  },
  'restart from a snapshot': (stage) => {
    stage.down(2);
    stage.start(2);
    stage.node(2).snapshotIndex = 11;
    stage.node(2).first = 5;
    stage.look(2);
  },
  'leader down while it sends a snapshot': (stage) => {
    stage.node(1).peers = [{ id: 2, mode: 'snapshot', match: 0, next: 1 }];
    stage.look(1);
    stage.down(1);
  },
  'leader down': (stage) => stage.down(1),
  'leader down with an unsynced tail': (stage) => stage.down(1, 'powerCut', true),
  'leader down with an uncommitted tail': (stage) => {
    stage.node(1).append(1, 'k');
    stage.look(1);
    stage.down(1);
  },
  'died in a turn': (stage) => stage.down(2, 'powerCut', true),
  'died while it started': (stage) => {
    stage.down(2);
    stage.start(2);
    stage.down(2, 'storage', true);
  },
  'restart within 20 ms': (stage) => {
    stage.down(2);
    stage.probes.started(2, 9, stage.nowMs + 20);
  },
  'two of five down': (stage) => [2, 3].forEach((id) => stage.down(id)),
  'no majority up': (stage) => [2, 3, 4].forEach((id) => stage.down(id)),
  'all down': (stage) => [1, 2, 3, 4, 5].forEach((id) => stage.down(id)),
  'storage failed': (stage) => stage.tell(2, 'storage', 'stops voting and acknowledging: i/o error'),
  'storage failed under a leader': (stage) => {
    stage.node(1).storage = 'failed';
    stage.node(1).role = 'follower';
    stage.look(1);
  },
  'disk full': (stage) => stage.tell(2, 'disk', 'its disk is full: it promises nothing'),
  'disk had room again': (stage) => stage.tell(2, 'disk', 'its disk has room again'),
  'snapshot given up on a full disk': (stage) =>
    stage.tell(2, 'disk', 'gives up a snapshot and tries again later: Cannot write "x"'),
  'log cut before damage': (stage) =>
    stage.tell(2, 'recover', 'starts with term 1, log 1–3, commit 2; the log was cut before damage'),
  'damaged data set aside': (stage) =>
    stage.tell(
      2,
      'recover',
      'starts with term 1; its data were damaged and are set aside in "damaged-data": Cannot read',
    ),
  'damage found by a running node': (stage) =>
    stage.tell(2, 'storage', 'starts again without its data, and gets them from its peers'),
  'voted again after a loss': (stage) => stage.tell(2, 'whole', 'votes again: what it lost is made good'),
  'torn tail cut': (stage) =>
    stage.tell(2, 'recover', 'starts with term 1, log 1–3, commit 2; an unfinished write of 7 bytes was cut'),
  'corruption refused': (stage) => {
    stage.down(2);
    stage.start(2);
    stage.down(2, 'corruption', true);
  },
  'disk too slow to lead': (stage) => stage.tell(1, 'stall', 'the disk is slow'),
  'session retry answered from the table': (stage) => {
    stage.ask(1, TAGGED);
    stage.exchange(1, TAGGED, { kind: 'ok', index: 11 });
  },
  'session expired': (stage) => stage.refuse('session_expired'),
  'compare-and-set refused': (stage) =>
    stage.exchange(1, SET, { kind: 'mismatch', index: 12, actual: undefined }),
  'write of unknown outcome': (stage) => stage.refuse('unknown'),
  'request through a follower': (stage) => stage.exchange(2, SET, { kind: 'ok', index: 12 }),
  'request sent on to the leader by its client': (stage) => stage.refuse('not_leader'),
  'node overloaded': (stage) => stage.refuse('overloaded'),
  'request lost with its node': (stage) => stage.probes.lost(stage.ask(1, SET)),
  'read confirmed after a change of leader': (stage) => {
    const id = stage.ask(2, GET);
    change(stage);
    stage.probes.replied(id, { kind: 'value', value: undefined });
  },
  'write answered after a change of leader': (stage) => {
    const id = stage.ask(2, SET);
    change(stage);
    stage.probes.replied(id, { kind: 'ok', index: 13 });
  },
  'learner added': (stage) => void stage.configure(1, { learners: [6] }),
  'learner promoted': (stage) => {
    stage.configure(1, { learners: [6] });
    stage.configure(1, { voters: [1, 2, 3, 4, 5, 6], outgoing: [1, 2, 3, 4, 5], learners: [] });
  },
  'members removed': (stage) => {
    stage.configure(1, { voters: [1, 2, 3], outgoing: [1, 2, 3, 4, 5] });
    stage.configure(1, { outgoing: [] });
  },
  'joint configuration': (stage) => void stage.configure(1, { voters: [1, 2, 3], outgoing: [1, 2, 3, 4, 5] }),
  'joint with two different majorities': (stage) => {
    stage.configure(1, { voters: [1, 2, 3], outgoing: [1, 2, 3, 4, 5] });
    stage.node(1).append(1, 'k');
    stage.peers(13, 11, 11, 11);
  },
  'joint configuration taken over by a new leader': (stage) => {
    stage.configure(2, { voters: [1, 2, 3], outgoing: [1, 2, 3, 4, 5] });
    change(stage);
  },
  'configuration taken back': (stage) =>
    stage.tell(2, 'config', 'configuration at 0 is in effect again: entry 5 was cut'),
  'leader left its cluster': (stage) =>
    stage.tell(1, 'role', 'leader ⇒ follower in term 1: it is no longer a member'),
  'node down while joint': (stage) => {
    stage.configure(2, { voters: [1, 2, 3], outgoing: [1, 2, 3, 4, 5] });
    stage.down(2);
  },
  'transfer completed': (stage) => {
    stage.node(1).transferTo = 2;
    stage.look(1);
    change(stage);
  },
  'transfer aborted': (stage) => {
    for (const to of [2, 0]) {
      stage.node(1).transferTo = to;
      stage.look(1);
    }
  },
  'leader down while it hands over': (stage) => {
    stage.node(1).transferTo = 2;
    stage.look(1);
    stage.down(1);
  },
  'lease held': (stage) => {
    stage.node(1).leaseUntilMs = 500;
    stage.look(1);
  },
  'lease lost by a live leader': (stage) => {
    for (const untilMs of [500, 0]) {
      stage.node(1).leaseUntilMs = untilMs;
      stage.look(1);
    }
  },
  'cluster fell silent': (stage) => {
    stage.node(1).isQuiesced = true;
    stage.look(1);
  },
  'cluster woke up': (stage) => {
    for (const isQuiesced of [true, false]) {
      stage.node(2).isQuiesced = isQuiesced;
      stage.look(2);
    }
  },
};

describe('Probes', () => {
  test('there are many of them, and no two alike', () => {
    expect(new Set(PROBES).size).toBe(PROBES.length);
    expect(PROBES.length).toBeGreaterThanOrEqual(40);
  });

  test('a quiet cluster reaches none', () => {
    const stage = new Stage();
    stage.exchange(1, GET, { kind: 'value', value: undefined });
    stage.exchange(1, SET, { kind: 'ok', index: 12 });
    stage.exchange(1, TAGGED, { kind: 'ok', index: 13 });
    stage.down(2);
    stage.start(2);
    stage.look();
    stage.tell(1, 'role', 'candidate ⇒ leader in term 1: won term 1: votes of n1 n2 n3 of 5');
    stage.tell(2, 'vote', 'grants n1 its vote for term 1: first to ask in term 1');
    stage.tell(2, 'recover', 'starts with term 1, log 1–3, commit 2');
    stage.peers(11, 11, 11, 11);
    expect(stage.probes.names).toEqual([]);
  });

  test.each(PROBES)('%s', (name) => {
    const stage = new Stage();
    expect(stage.probes.names).not.toContain(name);
    STORIES[name](stage);
    expect(stage.probes.names).toContain(name);
  });
});
