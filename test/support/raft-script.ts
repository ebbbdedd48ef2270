/**
 * Scripts for a network of Raft cores: commands, `---`, and what happened. A script is a story that is also a test.
 *
 *   cluster nodes=3 seed=1 [n1=1,1,2] [t1=3] [<RaftConfig field>=<number>|on]
 *           [p2=5] [clock2=0.9] [witnesses=3]  a node's priority; how fast its clock runs; which nodes keep no data
 *                              starts; n1= the terms of its log, t1= its durable term; voters=1,2,3 if not all
 *   campaign 1                 stands for election now
 *   propose 1 x [y…]           commands, each name once;  read 1 r [s…]  linearizable reads;  lease 1 r [s…]  by lease
 *   transfer 1 t 2|best        hands leadership over
 *   change 1 c add=4 witness=6 learner=5 promote=5 remove=2   changes the members, all of it at once, under the name c
 *   deliver [SEL] [first|last] hands over what is on its way now, to each node in one turn;  settle [SEL]  the same until nothing is left
 *   drop|duplicate|reverse SEL [first|last]
 *   hold SEL / release [SEL]   keeps back what matches, now and later / lets it go again
 *   cut SEL / heal             loses what matches when it is sent / ends every cut
 *   partition 1 2 | 3          cuts every link between the groups
 *   tick 50ms                  lets time pass and timers fire; delivers nothing
 *   wait 300ms                 lets time pass and fires no timer: every thread is stopped
 *   run 500ms                  lets time pass and delivers at once
 *   run until leader|leader 2|committed 5|equal|x [within 5s]
 *   damage 2 after=3 [blind]   the disk of a node that is down loses the log behind 3; blind: and does not know how far it went
 *   crash 2 [kept=1] / restart 2 / freeze 2 / thaw 2 / unreachable 1 2
 *   sync 2 held|auto           writes wait for `persist 2 [count]` / persist at once;  fail 2  the disk fails
 *   compact 1 5                snapshot up to 5
 *   elect 1                    makes it the leader, with nothing left on its way, and does not tell how
 *   hide heartbeat             leaves heartbeats and their replies out of the trace;  show
 *   log [1…] / status [1…] / packets / expect …
 *
 * SEL: any of `1>2`, `1>`, `>2`, and packet words (append, vote, preVoteReply, snapshot, report…).
 * expect: `leader 1` · `no leader` · `1 role=leader commit=3 term=2 last=4@2 …` · `applied 1 x y` · `x committed|pending|refused|unknown` · `r readable` · `equal`
 */
import { assert, at } from '../../src/lib/assert.ts';
import { RAFT_CONFIG, type RaftConfig } from '../../src/raft/config.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { MemberChange } from '../../src/raft/membership.ts';
import type { Rules } from '../../src/raft/rules.ts';
import { Loss } from './raft-loss.ts';
import {
  type InitialDisk,
  type Packet,
  RaftNetwork,
  type RaftNode,
  isCertain,
  text,
} from './raft-network.ts';
import {
  at as position,
  line,
  logText,
  outcomeText,
  packetLine,
  packetWord,
  statusLines,
} from './raft-trace.ts';

/** An `expect` that did not hold, or a `run until` that ran out of time. */
export class ExpectationFailure extends Error {
  override readonly name = 'ExpectationFailure';
}

/** Simulated time after which a `run until` without `within` gives up. */
const RUN_MS_MAX = 10_000;
const STEPS_PER_SETTLE_MAX = 100_000;

type Selector = (packet: Packet) => boolean;

export class RaftScript {
  readonly #rules: Rules | undefined;
  #network: RaftNetwork | undefined;
  #lines: string[] = [];
  #hidden: readonly string[] = [];
  #held: Selector[] = [];
  #cuts: Selector[] = [];

  /** @param options `rules` for every cluster of the script; those of Raft by default */
  constructor(options: { readonly rules?: Rules } = {}) {
    this.#rules = options.rules;
  }

  get network(): RaftNetwork {
    assert(this.#network !== undefined, 'A script begins with `cluster`');
    return this.#network;
  }

  /** Carries out one command. @returns what happened, a line each */
  run(command: string): string {
    this.#lines = [];
    const [verb = '', ...args] = command.trim().split(/\s+/);
    this.#command(verb, args);
    return this.#lines.join('\n');
  }

  #command(verb: string, args: readonly string[]): void {
    switch (verb) {
      case 'cluster':
        return this.#cluster(args);
      case 'campaign':
        return this.network.step(id(args[0]), { kind: 'campaign' });
      case 'elect':
        return this.#elect(id(args[0]));
      case 'propose':
        return this.network.propose(id(args[0]), ...args.slice(1));
      case 'change':
        return this.network.changeMembers(id(args[0]), args[1] ?? '', ...args.slice(2).map(change));
      case 'read':
        return this.network.read(id(args[0]), ...args.slice(1));
      case 'lease':
        return this.network.readBy('lease', id(args[0]), ...args.slice(1));
      case 'transfer':
        return this.network.transfer(id(args[0]), args[1] ?? '', args[2] === 'best' ? 0 : id(args[2]));
      case 'unreachable':
        return this.network.step(id(args[0]), { kind: 'unreachable', peer: id(args[1]) });
      case 'compact':
        return this.network.compact(id(args[0]), Number(args[1]));
      case 'crash':
        return this.network.crash(id(args[0]), Number(option(args, 'kept') ?? 0));
      case 'damage':
        return this.#damage(args);
      case 'restart':
        return this.network.restart(id(args[0]));
      case 'freeze':
      case 'thaw':
        this.network.node(id(args[0])).isFrozen = verb === 'freeze';
        return;
      case 'sync':
        return this.#sync(id(args[0]), args[1]);
      case 'persist':
        return this.network.persist(id(args[0]), args[1] === undefined ? Infinity : Number(args[1]));
      case 'fail':
        return this.network.failDisk(id(args[0]));
      case 'tick':
        return this.network.advance(this.network.nowMs + milliseconds(args[0]));
      case 'wait':
        this.network.nowMs += milliseconds(args[0]);
        return;
      case 'run':
        return this.#run(args);
      case 'log':
        for (const node of this.#nodes(args)) this.#lines.push(`n${node.id}: ${logText(node)}`);
        return;
      case 'status':
        for (const node of this.#nodes(args)) this.#lines.push(...statusLines(node));
        return;
      case 'expect':
        return this.#expect(args);
      default:
        return this.#packetCommand(verb, args);
    }
  }

  #packetCommand(verb: string, args: readonly string[]): void {
    const { network } = this;
    switch (verb) {
      case 'deliver':
        return network.deliver(this.#pick(args));
      case 'settle':
        return this.#settle(selector(args));
      case 'drop': {
        const picked = this.#pick(args, true);
        for (const packet of picked) this.#lines.push(packetLine(packet, '⇥'));
        return network.drop(picked);
      }
      case 'duplicate':
        network.packets.push(...this.#pick(args, true));
        network.packets = network.packets.map((packet) => ({ ...packet }));
        return;
      case 'reverse': {
        const picked = this.#pick(args, true);
        network.packets = [
          ...network.packets.filter((packet) => !picked.includes(packet)),
          ...picked.toReversed(),
        ];
        return;
      }
      case 'hold':
        this.#held.push(selector(args));
        return;
      case 'release':
        this.#held = [];
        return;
      case 'cut':
        this.#cuts.push(selector(args));
        return;
      case 'partition':
        return this.#partition(args);
      case 'heal':
        this.#cuts = [];
        return;
      case 'hide':
        this.#hidden = args.flatMap((word) =>
          word === 'heartbeat' ? ['heartbeat', 'heartbeatReply'] : [word],
        );
        return;
      case 'show':
        this.#hidden = [];
        return;
      case 'packets':
        for (const packet of network.packets)
          this.#lines.push(`${packetLine(packet, '→')}${this.#isHeld(packet) ? ' (held)' : ''}`);
        return;
      default:
        throw new Error(`Unknown command "${verb}"`);
    }
  }

  #cluster(args: readonly string[]): void {
    const nodes = Number(option(args, 'nodes') ?? 3);
    const config: { -readonly [K in keyof RaftConfig]?: RaftConfig[K] } = {};
    for (const name of configNames()) {
      const value = option(args, name);
      if (value === undefined) continue;
      if (name === 'leaseReads') config.leaseReads = value === 'on';
      else if (name !== 'witness') config[name] = Number(value);
    }
    const disks = new Map<NodeId, InitialDisk>();
    for (let node = 1; node <= nodes; node++) {
      const terms = option(args, `n${node}`)?.split(',').map(Number) ?? [];
      disks.set(node, { terms, term: Number(option(args, `t${node}`) ?? option(args, 'term') ?? 0) });
    }
    const ofEach = (name: string): ReadonlyMap<NodeId, number> =>
      new Map(
        [...disks.keys()].flatMap((node) => {
          const value = option(args, `${name}${node}`);
          return value === undefined ? [] : [[node, Number(value)] as const];
        }),
      );
    const rules = this.#rules;
    const voters = option(args, 'voters');
    const witnesses = option(args, 'witnesses');
    this.#held = [];
    this.#cuts = [];
    this.#network = new RaftNetwork({
      nodes,
      seed: option(args, 'seed') ?? 1,
      config,
      rates: ofEach('clock'),
      priorities: ofEach('p'),
      disks,
      ...(rules === undefined ? {} : { rules }),
      ...(voters === undefined ? {} : { voters: voters.split(',').map(Number) }),
      ...(witnesses === undefined ? {} : { witnesses: witnesses.split(',').map(Number) }),
      onHappening: (happening) => {
        if (happening.kind === 'sent' && this.#hidden.includes(packetWord(happening.packet))) return;
        const shown = line(happening);
        if (shown !== undefined) this.#lines.push(shown);
      },
    });
    this.#network.isCut = (packet) => packet.kind !== 'report' && this.#cuts.some((cut) => cut(packet));
  }

  #elect(node: NodeId): void {
    const before = this.#lines.length;
    this.network.step(node, { kind: 'campaign' });
    this.#settle();
    if (!this.network.node(node).core.isLeader) throw new ExpectationFailure(`n${node} is not elected`);
    this.#lines.length = before;
  }

  #damage(args: readonly string[]): void {
    const node = this.network.node(id(args[0]));
    assert(node.raft === undefined, 'The node is running');
    node.loss = new Loss(node.disk, Number(option(args, 'after')), !args.includes('blind'));
  }

  #sync(node: NodeId, mode: string | undefined): void {
    assert(mode === 'held' || mode === 'auto', 'sync wants held or auto');
    this.network.node(node).isHeld = mode === 'held';
    if (mode === 'auto') this.network.persist(node);
  }

  #partition(args: readonly string[]): void {
    const groups = args
      .join(' ')
      .split('|')
      .map((group) => group.trim().split(' ').map(Number));
    const groupOf = (node: NodeId): number => groups.findIndex((group) => group.includes(node));
    this.#cuts.push((packet) => groupOf(packet.from) !== groupOf(packet.to));
  }

  #isHeld(packet: Packet): boolean {
    return this.#held.some((held) => held(packet));
  }

  /** What is on its way and matches. Naming a packet that is not there is a mistake in the script. */
  #pick(args: readonly string[], evenHeld = false): readonly Packet[] {
    const matches = selector(args);
    const found = this.network.packets.filter(
      (packet) => matches(packet) && (evenHeld || !this.#isHeld(packet)),
    );
    if (found.length === 0) throw new ExpectationFailure(`Nothing on its way matches "${args.join(' ')}"`);
    if (args.includes('first')) return found.slice(0, 1);
    return args.includes('last') ? found.slice(-1) : found;
  }

  #settle(matches: Selector = () => true): void {
    for (let steps = 0; steps < STEPS_PER_SETTLE_MAX; steps++) {
      const ready = this.network.packets.find((packet) => matches(packet) && !this.#isHeld(packet));
      if (ready === undefined) return;
      this.network.deliver([ready]);
    }
    throw new ExpectationFailure('The network never becomes quiet');
  }

  #run(args: readonly string[]): void {
    const { network } = this;
    if (args[0] !== 'until') {
      this.#settle();
      return network.advance(network.nowMs + milliseconds(args[0]), () => this.#settle());
    }
    const within = args.indexOf('within');
    const condition = args.slice(1, within < 0 ? undefined : within);
    const limitMs = network.nowMs + (within < 0 ? RUN_MS_MAX : milliseconds(args[within + 1]));
    this.#settle();
    while (!this.#holds(condition)) {
      const nextMs = Math.min(
        ...network.running.filter((node) => !node.isFrozen).map((node) => network.deadlineMs(node)),
      );
      if (nextMs > limitMs) throw new ExpectationFailure(`Not within the time: ${condition.join(' ')}`);
      network.advance(Math.max(nextMs, network.nowMs), () => this.#settle());
    }
  }

  #holds(condition: readonly string[]): boolean {
    const { network } = this;
    const [what = '', which] = condition;
    const { leader } = network;
    switch (what) {
      case 'leader':
        return leader !== undefined && (which === undefined || leader.id === Number(which));
      case 'committed':
        return network.invariants.committed >= Number(which);
      case 'equal':
        return isEqual(network.running);
      default: {
        const request = network.request(what);
        return request.outcome !== undefined;
      }
    }
  }

  #nodes(args: readonly string[]): readonly RaftNode[] {
    return args.length === 0 ? this.network.nodes : args.map((arg) => this.network.node(id(arg)));
  }

  #expect(args: readonly string[]): void {
    const found = this.#find(args);
    if (found !== undefined) throw new ExpectationFailure(`Expected ${args.join(' ')}, found ${found}`);
  }

  /** @returns what was found instead; undefined when the expectation holds */
  #find(args: readonly string[]): string | undefined {
    const { network } = this;
    const [first = '', second = '', ...more] = args;
    const { leader } = network;
    if (first === 'leader') return leader?.id === Number(second) ? undefined : `n${leader?.id ?? 0}`;
    if (first === 'no') return leader === undefined ? undefined : `n${leader.id}`;
    if (first === 'equal')
      return isEqual(network.running) ? undefined : network.nodes.map(logText).join(' and ');
    if (first === 'applied') {
      const found = network
        .node(id(second))
        .applied.filter((entry) => entry.kind === 'command')
        .map(text);
      return found.join(' ') === more.join(' ') ? undefined : found.join(' ');
    }
    if (/^\d+$/.test(first)) return mismatch(network.node(Number(first)), args.slice(1));
    const { outcome } = network.request(first);
    const found = outcome === undefined ? 'pending' : outcomeText(outcome);
    const word = outcomeWord(
      outcome === undefined || outcome.ok ? found : isCertain(outcome.reason) ? 'refused' : 'unknown',
    );
    return word === second ? undefined : found;
  }
}

/** Runs every block of a script and puts the output beneath its commands; a block of comments only stays as it is. */
export function replay(script: string, run: (command: string) => string): string {
  const blocks = script.trimEnd().split(/\n\n+/);
  const done = blocks.map((block) => {
    const [input = ''] = block.split(/^---$/m);
    const commands = input.split('\n').filter((row) => row.trim() !== '' && !row.startsWith('#'));
    if (commands.length === 0) return input.trimEnd();
    const output = commands
      .map(run)
      .filter((shown) => shown !== '')
      .join('\n');
    return `${input.trimEnd()}\n---\n${output === '' ? 'ok' : output}`;
  });
  return `${done.join('\n\n')}\n`;
}

/** The commands of a script, in order. */
export function commandsOf(script: string): readonly string[] {
  const commands: string[] = [];
  replay(script, (command) => {
    commands.push(command);
    return '';
  });
  return commands;
}

function outcomeWord(found: string): string {
  return at(found.split(' '), 0);
}

function isEqual(nodes: readonly RaftNode[]): boolean {
  const [first] = nodes;
  if (first === undefined) return true;
  const { last } = first.memory;
  return nodes.every(
    (node) =>
      node.memory.last.hash === last.hash &&
      node.status?.commit === last.index &&
      node.applied.length === last.index,
  );
}

function mismatch(node: RaftNode, wanted: readonly string[]): string | undefined {
  const { status } = node;
  if (status === undefined) return wanted[0] === 'down' ? undefined : 'a node that is down';
  const found = new Map<string, string>([
    ['role', status.role],
    ['term', String(status.term)],
    ['vote', String(status.vote)],
    ['leader', String(status.leader)],
    ['commit', String(status.commit)],
    ['applied', String(status.applied)],
    ['first', String(status.first)],
    ['durable', String(status.durable)],
    ['transfer', String(status.transferTo)],
    ['asleep', String(status.isQuiesced)],
    ['last', position(status.last)],
    ['log', node.memory.entries.map(position).join(',')],
    ['voters', status.config.voters.join(',')],
    ['outgoing', status.config.outgoing.join(',')],
    ['learners', status.config.learners.join(',')],
    ['witnesses', status.config.witnesses.join(',')],
  ]);
  const wrong = wanted.filter((pair) => {
    const [name = '', value] = pair.split('=');
    return found.get(name) !== value;
  });
  return wrong.length === 0
    ? undefined
    : wrong.map((pair) => `${pair.split('=')[0]}=${found.get(at(pair.split('='), 0))}`).join(' ');
}

function selector(args: readonly string[]): Selector {
  const links = args.filter((arg) => arg.includes('>')).map((arg) => arg.split('>'));
  const words = args.filter((arg) => !arg.includes('>') && arg !== 'first' && arg !== 'last');
  return (packet) =>
    (links.length === 0 ||
      links.some(
        ([from, to]) =>
          (from === '' || Number(from) === packet.from) && (to === '' || Number(to) === packet.to),
      )) &&
    (words.length === 0 || words.includes(packetWord(packet)));
}

function option(args: readonly string[], name: string): string | undefined {
  return args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
}

function id(arg: string | undefined): NodeId {
  const value = Number(arg);
  assert(Number.isInteger(value) && value > 0, `Not a node: ${arg}`);
  return value;
}

function change(arg: string): MemberChange {
  const [kind = '', node] = arg.split('=');
  switch (kind) {
    case 'add':
      return { kind: 'add', node: id(node), address: '' };
    case 'witness':
      return { kind: 'addWitness', node: id(node), address: '' };
    case 'learner':
      return { kind: 'addLearner', node: id(node), address: '' };
    case 'promote':
      return { kind: 'promote', node: id(node) };
    case 'remove':
      return { kind: 'remove', node: id(node) };
    default:
      throw new Error(`Not a change of members: ${arg}`);
  }
}

function milliseconds(arg: string | undefined): number {
  const [, amount, unit] = /^(\d+)(ms|s)$/.exec(arg ?? '') ?? [];
  assert(amount !== undefined, `Not a time: ${arg}`);
  return Number(amount) * (unit === 's' ? 1000 : 1);
}

function configNames(): readonly (keyof RaftConfig)[] {
  return Object.keys(RAFT_CONFIG).filter((name): name is keyof RaftConfig => name in RAFT_CONFIG);
}
