/** Notes which rare paths a run was on. It judges nothing and changes nothing. */
import { unreachable } from '../../lib/assert.ts';
import type { Term } from '../../raft/entry.ts';
import type { Event, Message, Outcome, Write } from '../../raft/messages.ts';
import type { SimNode } from './node.ts';
import type { CoreProbe } from './probes.ts';
import type { Request } from './requests.ts';

/** A hint this far before the end of the log skips whole terms. */
const FAR_ENTRIES = 3;

export class Observer {
  readonly probes: Set<CoreProbe> = new Set();
  readonly #nodes: readonly SimNode[];
  /** How many voters there were to begin with. */
  readonly #founders: number;
  /** Vote requests that arrived at each node, with the life in which they did. */
  readonly #asked: Map<number, number> = new Map();
  /** Votes that arrived at candidates. */
  readonly #votes: Set<number> = new Set();

  constructor(nodes: readonly SimNode[]) {
    this.#nodes = nodes;
    this.#founders = nodes[0]?.config.voters.length ?? 0;
  }

  /** A core told what happened in it; `node.role` is still what it was. */
  event(node: SimNode, event: Event): void {
    switch (event.kind) {
      case 'role':
        return this.#role(node, event);
      case 'vote':
        if (event.granted) return;
        if (event.pre && event.why.startsWith('heard'))
          this.probes.add('pre-vote refused while a leader lives');
        if (event.why.startsWith('already voted')) this.probes.add('vote refused: vote given');
        if (event.why.startsWith('log older')) this.probes.add('vote refused: log older');
        return;
      case 'commit':
        if (node.disk.log.lastIndex < event.index)
          this.probes.add('committed without the disk of the leader');
        if (this.#nodes.length > 2 && event.by.length === Math.floor(this.#nodes.length / 2) + 1)
          this.probes.add('committed by a bare majority');
        if (event.by.some((id) => this.#nodes[id - 1]?.isWitness))
          this.probes.add('committed with a witness');
        return;
      case 'config':
        return this.#config(node, event);
      case 'transfer':
        this.probes.add(event.why.startsWith('given up') ? 'transfer given up' : 'transfer begun');
        return;
      case 'quiesce':
        this.probes.add(event.isQuiesced ? 'fell asleep' : 'woke up');
        return;
      case 'stall':
        this.probes.add('stood back for a slow disk');
        return;
      case 'reject':
        this.probes.add('rejected an append');
        return;
      case 'term':
      case 'truncate':
      case 'snapshot':
      case 'drop':
      case 'whole':
        return;
      default:
        return unreachable(event);
    }
  }

  /** A message is about to be handled. */
  arrives(node: SimNode, message: Message): void {
    if (message.term < node.term) {
      if (message.kind === 'append') this.probes.add('append of an old term arrived');
      this.probes.add('message of an old term answered');
      return;
    }
    if (message.kind === 'vote' && !message.pre) {
      const key = (message.term * 16 + node.id) * 16 + message.from;
      const life = this.#asked.get(key);
      if (life !== undefined && life !== node.life) this.probes.add('vote asked again after a restart');
      this.#asked.set(key, node.life);
    }
    if (message.kind === 'voteReply' && message.granted && !message.pre && node.role === 'candidate') {
      const key = (message.term * 16 + node.id) * 16 + message.from;
      if (this.#votes.has(key)) this.probes.add('vote reply arrived twice');
      this.#votes.add(key);
    }
    if (message.kind === 'appendReject' && message.hint.index + FAR_ENTRIES < message.rejected)
      this.probes.add('rejected with a hint far back');
  }

  /** A core gave out a write; `node.memory` is still as it was before. */
  given(node: SimNode, write: Write): void {
    const { disk, memory } = node;
    if (disk.outstanding >= 3) this.probes.add('three writes outstanding');
    if (write.snapshot !== undefined) {
      this.probes.add('snapshot installed');
      const { index, term } = write.snapshot.position;
      if (write.snapshot.keepLog) this.probes.add('snapshot installed, log kept');
      const own = memory.termAt(index);
      if (own !== undefined && own !== term) this.probes.add('snapshot installed over a conflicting log');
      return;
    }
    const after = write.append?.after ?? Infinity;
    if (after >= memory.lastIndex) return;
    this.probes.add('truncated');
    if (memory.lastIndex - after > 1) this.probes.add('truncated two entries or more');
    if (after < disk.log.lastIndex) this.probes.add('truncated what was durable');
    if (disk.outstanding > 1) this.probes.add('truncated with a write outstanding');
  }

  /** A node is about to crash. */
  crashes(node: SimNode): void {
    if (!node.disk.hasOutstandingEntries) return;
    this.probes.add('crash with unsynced entries');
    if (node.role === 'leader') this.probes.add('leader crashed with unsynced entries');
  }

  /** A node is about to start from its disk. */
  starts(node: SimNode): void {
    const { disk, life } = node;
    if (disk.snapshot.position.index > 0) this.probes.add('restart from a snapshot');
    if (life > 1 && disk.log.lastIndex > disk.hard.commit)
      this.probes.add('restart with entries past the commit index');
  }

  /** A request was answered. `noop`: the index of its leader's first entry. */
  settled(node: SimNode, request: Request, outcome: Outcome): void {
    if (outcome.ok) {
      if (outcome.kind === 'transferred') this.probes.add('leadership handed over');
      if (outcome.kind !== 'readable') return;
      this.probes.add(outcome.validUntilMs === undefined ? 'read confirmed' : 'read by lease');
      if (node.role === 'follower') this.probes.add('read at a follower');
      if (outcome.index > request.committedBefore) this.probes.add('read waited for the no-op');
      return;
    }
    const { reason } = outcome;
    if (reason.kind === 'overloaded') this.probes.add('overloaded');
    if (reason.kind === 'lostLeadership' && !reason.mayCommit) this.probes.add('read lost with its leader');
    if (
      request.kind === 'read' &&
      this.#nodes.some((other) => other.role === 'leader' && other.term > node.term)
    )
      this.probes.add('read at a deposed leader');
  }

  /** An entry was committed for the first time. */
  committed(entryTerm: Term, committer: SimNode, request: Request | undefined): void {
    if (entryTerm < committer.term && committer.role === 'leader')
      this.probes.add('earlier term committed with a later');
    if (request?.verdict === 'unknown') this.probes.add('proposal lost and committed all the same');
  }

  #config(node: SimNode, event: Extract<Event, { readonly kind: 'config' }>): void {
    const { config, phase } = event;
    const before = node.memory.config;
    if (phase === 'rolledBack') this.probes.add('configuration taken back');
    if (config.outgoing.length > 0) this.probes.add('joint configuration');
    if (phase !== 'committed') return;
    if (config.voters.length !== this.#founders) this.probes.add('another number of voters');
    if (config.learners.length > 0) this.probes.add('learner added');
    if (config.witnesses.some((id) => config.learners.includes(id))) this.probes.add('witness added');
    if (before.learners.some((id) => config.voters.includes(id))) this.probes.add('learner promoted');
    if (node.role === 'leader' && !config.voters.includes(node.id)) this.probes.add('leader removed itself');
  }

  #role(node: SimNode, event: Extract<Event, { readonly kind: 'role' }>): void {
    const { from, to } = event;
    if (to === 'leader') {
      this.probes.add('leader elected');
      if (this.#nodes.some((other) => other !== node && other.role === 'leader' && other.raft !== undefined))
        this.probes.add('two leaders at once');
    }
    if (from === 'candidate' && to === 'preCandidate') this.probes.add('split vote');
    if (from === 'candidate' && to === 'follower') this.probes.add('election lost to another leader');
    if (from !== 'leader') return;
    if (event.why.startsWith('no answer')) this.probes.add('leader steps down without a majority');
    if (event.term > node.term) this.probes.add('leader deposed by a later term');
  }
}
