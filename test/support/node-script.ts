/**
 * Scripts for whole nodes in virtual time, with disks that forget: commands, `---`, and what the nodes said. Same form as
 * raft-script.ts; a script is a story that is also a test.
 *
 *   cluster nodes=3 [voters=1,2,3] [seed=1] [snapshotEntries=20] [trailingEntries=5] [segmentBytesMax=500]
 *           [requestTimeoutMs=2000] [<RaftConfig field>=<number>|on]
 *   join                        another node starts and waits to be added
 *   put 1 a=1 [s#2]             asks n1 and waits for the answer; with the second number of session s
 *   get 1 a · delete 1 a [s#3] · session 1 s · compact 1 · transfer 1 2 · change 1 add=4 remove=2
 *   send w put 1 b=2            asks and goes on: the answer of w is told when it comes;  await w
 *   fill 1 30 [bytes=100] [keys=7]   so many writes of different values, without telling
 *   elect 1                     makes it the leader, and does not tell how
 *   crash 2 · power-cut 2 [worst|best|any] · wipe 2 · restart 2 · freeze 2 300ms
 *   fail 2 sync [EIO|ENOSPC|dropPages|powerCut [best|any]] [path=wal] [nth=3]   such a call of its disk, the next by default;
 *                               fail 2 all EIO   every call from now on
 *   stall 2 5s                  its next sync takes so long
 *   corrupt 2 wal a=1           flips a bit in the file below data/wal that holds these bytes
 *   tear 2 wal 5                cuts so many bytes off the end of the last file there
 *   partition 1 2 | 3           cuts every link between the groups;  lose SEL  loses what matches
 *   slow 1>2 40ms               that link is whole, and takes up to so long;  heal  ends all three
 *   hold SEL · copy SEL         keeps back what matches from now on, or a copy of it;  held  lists it
 *   release [reversed]          hands over what is held, the last first
 *   run 500ms · run until CONDITION [within 5s]
 *   hide vote / show commit     kinds of events in the trace
 *   status [1…] · data [1…] · files 1 wal|snapshots · expect CONDITION
 *
 * SEL: any of `1>2`, `1>`, `>2`, and words (append, voteReply, preVote, forward, hello, snapshotPart…).
 * CONDITION: `leader 1` · `leader` · `no leader` · `1 role=leader term=2 last=4 applied=3 snapshot=3 disk=failed …` · `1 down`
 *   · `data 1 a=1 b=2` · `w ok|value|none|unknown|lost|pending|<code>` · `equal` · `told 2 some words`: so many events had these words
 */
import { AssertionError, assert, at } from '../../src/lib/assert.ts';
import { utf8 } from '../../src/lib/bytes.ts';
import { CorruptionError } from '../../src/lib/errors.ts';
import type { Envelope, Request } from '../../src/net/protocol.ts';
import type { Duties } from '../../src/node/duties.ts';
import { RAFT_CONFIG, type RaftConfig } from '../../src/raft/config.ts';
import type { NodeId } from '../../src/raft/entry.ts';
import type { Rules } from '../../src/raft/rules.ts';
import type { Fault } from '../../src/sim/disk.ts';
import { type NodeHost, NodeNetwork, type NodeNetworkOptions, type Submission } from './node-network.ts';
import {
  dataText,
  differs,
  envelopeText,
  fileAt,
  filesOf,
  isEqual,
  mismatch,
  replyText,
  replyWord,
  statusText,
} from './node-trace.ts';
import { NodeViolation, NodeWatch } from './node-watch.ts';
import {
  type Selector,
  change,
  crashMode,
  faultOf,
  id,
  isCallKind,
  milliseconds,
  option,
  selector,
  wordOf,
} from './node-words.ts';
import { ExpectationFailure } from './raft-script.ts';

/** Virtual time after which a `run until` without `within`, and any wait for an answer, gives up. */
const RUN_MS_MAX = 20_000;

/** What is not told unless it is asked for. */
const HIDDEN: readonly string[] = ['commit', 'quiesce', 'drop', 'reject'];

interface Held {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly envelope: Envelope;
}

export class NodeScript {
  readonly #broken: { readonly rules?: Rules; readonly duties?: Duties };
  #network: NodeNetwork | undefined;
  #watch: NodeWatch = new NodeWatch();
  #lines: string[] = [];
  #told: string[] = [];
  #hidden: Set<string> = new Set(HIDDEN);
  #requests: Map<string, Submission> = new Map();
  /** Requests whose answers are still to be told, by the words that tell them. */
  #open: Map<Submission, string> = new Map();
  #sessions: Map<string, number> = new Map();
  #losses: Selector[] = [];
  #holds: Selector[] = [];
  #copies: Selector[] = [];
  #held: Held[] = [];
  #filled = 0;
  /** What a node says behind a call of its disk that is not over yet. */
  #later: { readonly atMs: number; readonly text: string }[] = [];

  /** @param broken what the nodes break; by default they are sound */
  constructor(broken: { readonly rules?: Rules; readonly duties?: Duties } = {}) {
    this.#broken = broken;
  }

  get network(): NodeNetwork {
    assert(this.#network !== undefined, 'A script begins with `cluster`');
    return this.#network;
  }

  /** What the last command has shown so far, also when it failed. */
  get shown(): readonly string[] {
    return this.#lines;
  }

  /** Carries out one command. @returns what happened, a line each @throws ExpectationFailure or NodeViolation */
  run(command: string): string {
    this.#lines = [];
    const [verb = '', ...args] = command.trim().split(/\s+/);
    try {
      this.#command(verb, args);
      this.#tellAnswers();
      this.#tellLate();
    } catch (error) {
      // An engine of the network asserts it of the values of a run.
      if (error instanceof AssertionError && error.message.includes('was applied twice'))
        throw new NodeViolation('Applied Once', error.message);
      throw error;
    }
    return this.#lines.join('\n');
  }

  #command(verb: string, args: readonly string[]): void {
    switch (verb) {
      case 'cluster':
        return this.#cluster(args);
      case 'join':
        this.#lines.push(`n${this.network.join()} waits to be added`);
        return;
      case 'send':
        this.#ask(args[0] ?? '', args.slice(1));
        return;
      case 'await':
        return this.#await(args[0] ?? '');
      case 'put':
      case 'get':
      case 'delete':
      case 'session':
      case 'compact':
      case 'transfer':
      case 'change': {
        const name = [verb, ...args].join(' ');
        this.#ask(name, [verb, ...args]);
        return this.#await(name);
      }
      case 'fill':
        return this.#fill(id(args[0]), Number(args[1]), {
          bytes: Number(option(args, 'bytes') ?? 8),
          keys: Number(option(args, 'keys') ?? Infinity),
        });
      case 'elect':
        return this.#elect(id(args[0]));
      case 'run':
        return this.#run(args);
      case 'hide':
        for (const kind of args) this.#hidden.add(kind);
        return;
      case 'show':
        for (const kind of args) this.#hidden.delete(kind);
        return;
      case 'status':
        this.#lines.push(...this.#hosts(args).map(statusText));
        return;
      case 'data':
        for (const host of this.#hosts(args)) this.#lines.push(`n${host.id}: ${dataText(host)}`);
        return;
      case 'files':
        this.#lines.push(...filesOf(this.network.host(id(args[0])), args[1] ?? ''));
        return;
      case 'expect':
        return this.#expect(args);
      default:
        if (!this.#fault(verb, args) && !this.#linkFault(verb, args))
          throw new Error(`Unknown command "${verb}"`);
    }
  }

  /** Faults of nodes and disks. @returns false for a command that is none */
  #fault(verb: string, args: readonly string[]): boolean {
    const { network } = this;
    const node = (): NodeId => id(args[0]);
    switch (verb) {
      case 'crash':
        network.crash(node());
        return true;
      case 'power-cut':
        network.cutPower(node(), crashMode(args[1] ?? 'worst'));
        return true;
      case 'wipe':
        network.wipe(node());
        this.#watch.wiped(node());
        return true;
      case 'restart':
        this.#restart(node());
        return true;
      case 'freeze':
        network.freeze(node(), network.nowMs + milliseconds(args[1]));
        return true;
      case 'stall': {
        const ms = milliseconds(args[1]);
        this.#intercept(node(), 'sync', '', () => {
          network.stall(node(), network.nowMs + ms);
          return undefined;
        });
        return true;
      }
      case 'fail': {
        const fault = faultOf(args.slice(2));
        network.crashMode = crashMode(args.find((arg) => arg === 'best' || arg === 'any') ?? 'worst');
        if (args[1] === 'all') network.host(node()).fs.intercept = () => fault;
        else {
          let left = Number(option(args, 'nth') ?? 1);
          const path = option(args, 'path') ?? '';
          this.#intercept(node(), args[1] ?? '', path, () => (--left === 0 ? fault : 'later'));
        }
        return true;
      }
      case 'corrupt': {
        const { fs } = network.host(node());
        const { path, bytes, offset } = fileAt(fs, args[1] ?? '', args[2] ?? '');
        fs.poke(
          path,
          bytes.map((byte, i) => (i === offset ? byte ^ 1 : byte)),
        );
        return true;
      }
      case 'tear': {
        const { fs } = network.host(node());
        const { path, bytes } = fileAt(fs, args[1] ?? '', '');
        fs.poke(path, bytes.subarray(0, bytes.length - Number(args[2])));
        return true;
      }
      default:
        return false;
    }
  }

  /** Faults of links. @returns false for a command that is none */
  #linkFault(verb: string, args: readonly string[]): boolean {
    const { network } = this;
    switch (verb) {
      case 'partition':
        network.partition(
          args
            .join(' ')
            .split('|')
            .map((group) => group.trim().split(' ').map(Number)),
        );
        return true;
      case 'slow': {
        const [from = 0, to = 0] = (args[0] ?? '').split('>').map(Number);
        network.link(from, to, { delayMsMax: milliseconds(args[1]) });
        return true;
      }
      case 'lose':
        this.#losses.push(selector(args));
        return true;
      case 'heal':
        this.#losses = [];
        network.heal();
        return true;
      case 'hold':
        this.#holds.push(selector(args));
        return true;
      case 'copy':
        this.#copies.push(selector(args));
        return true;
      case 'held':
        this.#lines.push(...this.#held.map(({ from, to, envelope }) => envelopeText(from, to, envelope)));
        return true;
      case 'release':
        this.#release(args[0] === 'reversed');
        return true;
      default:
        return false;
    }
  }

  #cluster(args: readonly string[]): void {
    const number = (name: string): number | undefined => {
      const value = option(args, name);
      return value === undefined ? undefined : Number(value);
    };
    const raft: { -readonly [K in keyof RaftConfig]?: RaftConfig[K] } = {};
    for (const name of Object.keys(RAFT_CONFIG).filter(
      (each): each is keyof RaftConfig => each in RAFT_CONFIG,
    )) {
      const value = option(args, name);
      if (value === undefined) continue;
      if (name === 'leaseReads') raft.leaseReads = value === 'on';
      else if (name !== 'witness') raft[name] = Number(value);
    }
    const voters = option(args, 'voters');
    const options: { -readonly [K in keyof NodeNetworkOptions]: NodeNetworkOptions[K] } = {
      nodes: number('nodes') ?? 3,
      seed: option(args, 'seed') ?? 1,
      raft,
      ...this.#broken,
    };
    if (voters !== undefined) options.voters = voters.split(',').map(Number);
    for (const name of [
      'snapshotEntries',
      'trailingEntries',
      'segmentBytesMax',
      'requestTimeoutMs',
    ] as const) {
      const value = number(name);
      if (value !== undefined) options[name] = value;
    }
    const network = new NodeNetwork(options);
    network.crashMode = 'worst';
    network.afterTurn = (host) => this.#turned(host);
    network.onSend = (from, to, envelopes) => envelopes.filter((each) => this.#passes(from, to, each));
    this.#network = network;
    this.#watch = new NodeWatch();
    this.#requests = new Map();
    this.#open = new Map();
    this.#sessions = new Map();
    this.#losses = [];
    this.#holds = [];
    this.#copies = [];
    this.#held = [];
    this.#later = [];
    this.#told = [];
  }

  #turned(host: NodeHost): void {
    this.#tellLate();
    for (const { kind, text } of host.running.takeEvents().events) {
      this.#told.push(`n${host.id} ${text}`);
      if (!this.#hidden.has(kind)) this.#tell(host, `n${host.id} ${text}`);
    }
    this.#tellAnswers();
    this.#watch.turned(host);
  }

  #tell(host: NodeHost, text: string): void {
    const atMs = host.stalledUntilMs;
    if (atMs > this.network.nowMs) this.#later.push({ atMs, text });
    else this.#lines.push(text);
  }

  #tellLate(): void {
    const nowMs = this.#network?.nowMs ?? 0;
    this.#lines.push(...this.#later.filter(({ atMs }) => atMs <= nowMs).map(({ text }) => text));
    this.#later = this.#later.filter(({ atMs }) => atMs > nowMs);
  }

  #passes(from: NodeId, to: NodeId, envelope: Envelope): boolean {
    const word = wordOf(envelope);
    this.#watch.sent(from, to, envelope);
    if (this.#losses.some((loss) => loss(from, to, word))) return false;
    const isHeld = this.#holds.some((hold) => hold(from, to, word));
    const isCopied = this.#copies.some((copy) => copy(from, to, word));
    if (isHeld || isCopied) this.#held.push({ from, to, envelope });
    return !isHeld;
  }

  #release(isReversed: boolean): void {
    const held = isReversed ? this.#held.toReversed() : this.#held;
    this.#held = [];
    this.#holds = [];
    this.#copies = [];
    for (const { from, to, envelope } of held) this.network.host(to).node?.receive(from, [envelope]);
  }

  /** Lets `what` happen at the next call of this kind whose path has `path` in it, and again as long as it says `later`. */
  #intercept(node: NodeId, kind: string, path: string, what: () => Fault | 'later' | undefined): void {
    assert(isCallKind(kind), `Not a call of a disk: ${kind}`);
    const { fs } = this.network.host(node);
    const before = fs.intercept;
    fs.intercept = (call) => {
      const earlier = before?.(call);
      if (earlier !== undefined || call.kind !== kind || !call.path.includes(path)) return earlier;
      const fault = what();
      if (fault === 'later') return undefined;
      fs.intercept = before;
      return fault;
    };
  }

  #restart(node: NodeId): void {
    try {
      if (this.network.start(node)) return;
      this.#lines.push(`n${node} does not start: ${this.network.host(node).reason}`);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.network.host(node).reason = `refused its disk: ${error.message}`;
      this.#lines.push(`n${node} refuses to start: ${error.message}`);
    }
  }

  #ask(name: string, [verb = '', node, ...args]: readonly string[]): void {
    const before = this.#requests.get(name);
    if (before !== undefined) this.#open.delete(before);
    const { network } = this;
    const submission = network.submit(id(node), this.#request(verb, args));
    this.#requests.set(name, submission);
    this.#open.set(submission, name);
    if (verb === 'session') this.#sessions.set(at(args, 0), -1);
  }

  #request(verb: string, args: readonly string[]): Request {
    const [what = '', tag] = args;
    const [key = '', value = ''] = what.split('=');
    const session = tag === undefined ? {} : { session: this.#tag(tag) };
    switch (verb) {
      case 'put':
        return { kind: 'set', key: utf8(key), value: utf8(value), ...session };
      case 'get':
        return { kind: 'get', key: utf8(key) };
      case 'delete':
        return { kind: 'delete', key: utf8(key), ...session };
      case 'session':
        return { kind: 'openSession' };
      case 'compact':
        return { kind: 'compact' };
      case 'transfer':
        return { kind: 'transferLeader', to: id(what) };
      case 'change':
        return { kind: 'changeMembers', changes: args.map(change) };
      default:
        throw new Error(`Not a request: ${verb}`);
    }
  }

  #tag(tag: string): { readonly id: number; readonly seq: number; readonly ackedBelow: number } {
    const [name = '', seq] = tag.split('#');
    const session = this.#sessions.get(name);
    assert(session !== undefined && session > 0, `Session ${name} is not open`);
    return { id: session, seq: Number(seq), ackedBelow: 1 };
  }

  #await(name: string): void {
    const submission = this.#submission(name);
    this.network.runUntil(() => submission.outcome !== undefined, RUN_MS_MAX);
    this.#tellAnswers();
    if (submission.outcome === undefined) throw new ExpectationFailure(`No answer: ${name}`);
  }

  #tellAnswers(): void {
    for (const [submission, name] of this.#open) {
      const { outcome } = submission;
      if (outcome === undefined) continue;
      this.#open.delete(submission);
      if (name !== '') this.#tell(this.network.host(submission.node), `${name}: ${replyText(outcome)}`);
      if (outcome === 'lost') continue;
      const isWrite = submission.request.kind === 'set' || submission.request.kind === 'delete';
      if (isWrite && outcome.kind === 'ok') this.#watch.acknowledged(outcome.index);
      if (outcome.kind !== 'session') continue;
      for (const [session, number] of this.#sessions) if (number < 0) this.#sessions.set(session, outcome.id);
    }
  }

  #fill(node: NodeId, count: number, of: { readonly bytes: number; readonly keys: number }): void {
    const asked: Submission[] = [];
    for (let i = 0; i < count; i++) {
      const number = this.#filled++;
      const key = utf8(`f${String(number % of.keys).padStart(5, '0')}`);
      const value = utf8(String(number).padStart(of.bytes, '0'));
      const submission = this.network.submit(node, { kind: 'set', key, value });
      asked.push(submission);
      this.#open.set(submission, '');
      this.network.runUntil(() => submission.outcome !== undefined, RUN_MS_MAX);
    }
    const failed = asked.find(
      ({ outcome }) => outcome === undefined || outcome === 'lost' || outcome.kind !== 'ok',
    );
    if (failed !== undefined) throw new ExpectationFailure('Not all was written');
  }

  #elect(node: NodeId): void {
    const { network } = this;
    const before = this.#lines.length;
    const isReady = (): boolean => this.#mismatch(['equal']) === undefined;
    if (!network.runUntil(isReady, RUN_MS_MAX)) throw new ExpectationFailure('Nobody is elected');
    if (network.leader?.id !== node) {
      const asked = network.submit(node, { kind: 'transferLeader', to: node });
      network.runUntil(() => asked.outcome !== undefined, RUN_MS_MAX);
      network.runUntil(isReady, RUN_MS_MAX);
    }
    if (network.leader?.id !== node) throw new ExpectationFailure(`n${node} is not elected`);
    this.#lines.length = before;
  }

  #run(args: readonly string[]): void {
    const { network } = this;
    if (args[0] !== 'until') return network.run(network.nowMs + milliseconds(args[0]));
    const within = args.indexOf('within');
    const condition = args.slice(1, within < 0 ? undefined : within);
    const limitMs = within < 0 ? RUN_MS_MAX : milliseconds(args[within + 1]);
    if (network.runUntil(() => this.#mismatch(condition) === undefined, limitMs)) return;
    throw new ExpectationFailure(`Not within the time: ${condition.join(' ')}`);
  }

  #expect(condition: readonly string[]): void {
    const found = this.#mismatch(condition);
    if (found !== undefined) throw new ExpectationFailure(`Expected ${condition.join(' ')}, found ${found}`);
  }

  /** @returns what was found instead; undefined when the condition holds */
  #mismatch(condition: readonly string[]): string | undefined {
    const { network } = this;
    const [first = '', second, ...more] = condition;
    const { leader } = network;
    switch (first) {
      case 'leader':
        return leader !== undefined && (second === undefined || leader.id === Number(second))
          ? undefined
          : `n${leader?.id ?? 0}`;
      case 'no':
        return leader === undefined ? undefined : `n${leader.id}`;
      case 'equal':
        return isEqual(network.up) ? undefined : network.up.map(statusText).join('; ');
      case 'data':
        return differs(dataText(network.host(id(second))), more.join(' '));
      case 'told':
        return differs(
          String(this.#told.filter((line) => line.includes(more.join(' '))).length),
          second ?? '',
        );
      default:
        if (/^\d+$/.test(first)) return mismatch(network.host(Number(first)), condition.slice(1));
        return differs(replyWord(this.#submission(first).outcome), second ?? '');
    }
  }

  #submission(name: string): Submission {
    const submission = this.#requests.get(name);
    assert(submission !== undefined, `Nothing is named ${name}`);
    return submission;
  }

  #hosts(args: readonly string[]): readonly NodeHost[] {
    return args.length === 0 ? this.network.hosts : args.map((arg) => this.network.host(id(arg)));
  }
}
