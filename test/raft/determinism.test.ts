/** The core is a function of its inputs, and no message of a peer can make it throw. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/lib/bytes.ts';
import { Random } from '../../src/lib/random.ts';
import { type Entry, makeEntry } from '../../src/raft/entry.ts';
import { bootstrapConfig } from '../../src/raft/membership.ts';
import type { Input, LogPosition, Message, Output } from '../../src/raft/messages.ts';
import { Raft } from '../../src/raft/raft.ts';
import { fuzz } from '../support/raft-fuzz.ts';
import { line } from '../support/raft-trace.ts';

const VOTERS = [1, 2, 3, 4, 5];

function trace(seed: number): readonly string[] {
  const lines: string[] = [];
  fuzz({ seed, steps: 400, onHappening: (happening) => lines.push(line(happening) ?? '') });
  return lines;
}

describe('determinism', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('seed %i gives the same run twice', (seed) => {
    const first = trace(seed);
    expect(first.length).toBeGreaterThan(50);
    expect(trace(seed)).toEqual(first);
  });

  it('the inputs of one core, given again, give the same outputs', () => {
    const inputs = recordedInputs(new Random('inputs'), 5_000);
    expect(outputsOf(inputs)).toEqual(outputsOf(inputs));
  });
});

describe('step() never throws for what a peer sent', () => {
  it('50,000 random messages of members, to cores in every role', () => {
    const random = new Random('any message');
    const seen = new Set<string>();
    let drops = 0;
    for (let life = 0; life < 100; life++) {
      const host = new Host(random);
      for (let i = 0; i < 500; i++) {
        const message = anyMessage(random, host.raft);
        try {
          host.step({ kind: 'message', message });
          if (random.chance(0.1)) host.step({ kind: 'tick' });
          if (random.chance(0.1))
            host.step({ kind: 'propose', proposals: [{ id: i, payload: utf8(`${i}`) }] });
          if (random.chance(0.02)) host.step({ kind: 'compact', index: host.raft.status.applied });
        } catch (error) {
          throw new Error(`life ${life}, message ${i}: ${JSON.stringify(message)}`, { cause: error });
        }
        seen.add(host.raft.status.role);
      }
      drops += host.drops;
    }
    expect([...seen].toSorted()).toEqual(['candidate', 'follower', 'leader', 'preCandidate']);
    expect(drops).toBeGreaterThan(1_000);
  });

  it('random snapshots from members', () => {
    const random = new Random('any snapshot');
    for (let life = 0; life < 200; life++) {
      const host = new Host(random);
      for (let i = 0; i < 50; i++) {
        const term = Math.max(0, host.raft.status.term + random.int(-1, 1));
        const position = { index: random.int(0, 12), term: random.int(0, 9) };
        host.step({
          kind: 'snapshotArrived',
          snapshot: { from: random.int(0, 6), term, position, config: bootstrapConfig([1, 2, 3]) },
        });
        host.step({ kind: 'message', message: anyMessage(random, host.raft) });
      }
      expect(host.raft.status.commit).toBeLessThanOrEqual(host.raft.status.last.index);
    }
  });

  it('a leader that contradicts a committed entry is dropped with a reason', () => {
    const raft = follower([entry(1, 1), entry(2, 1)], 2);
    const message: Message = {
      kind: 'append',
      from: 2,
      to: 1,
      term: 3,
      prev: { index: 1, term: 1 },
      entries: [entry(2, 3)],
      commit: 2,
      round: 1,
    };
    raft.step(0, { kind: 'message', message });
    expect(dropsOf(drainAll(raft))).toEqual(['entry 2 contradicts a committed entry']);
    expect(raft.status.last).toEqual({ index: 2, term: 1 });
  });

  it('entries that do not follow one another are dropped with a reason', () => {
    const append = (prev: LogPosition, entries: readonly Entry[]): readonly string[] => {
      const raft = follower([entry(1, 1)], 0);
      const message: Message = {
        kind: 'append',
        from: 2,
        to: 1,
        term: 3,
        prev,
        entries,
        commit: 0,
        round: 1,
      };
      raft.step(0, { kind: 'message', message });
      return dropsOf(drainAll(raft));
    };
    const why = ['the entries do not follow one another'];
    expect(append({ index: 1, term: 1 }, [entry(3, 3)])).toEqual(why);
    expect(append({ index: 1, term: 1 }, [entry(2, 3), entry(3, 2)])).toEqual(why);
    expect(append({ index: 1, term: 1 }, [entry(2, 4)])).toEqual(why);
    expect(append({ index: 1, term: 1 }, [entry(2, 3), entry(3, 3)])).toEqual([]);
  });

  it('a message that claims to come from this node itself is dropped', () => {
    const raft = follower([], 0);
    raft.step(0, { kind: 'message', message: { kind: 'heartbeatReply', from: 1, to: 1, term: 0, round: 1 } });
    expect(dropsOf(drainAll(raft))).toEqual(['not for this node, or from itself']);
  });
});

/** A host that keeps its core's contract: it persists and applies at once. */
class Host {
  readonly raft: Raft;
  drops = 0;
  #nowMs = 0;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
    const terms = Array.from({ length: random.int(0, 6) }, () => random.int(1, 4)).toSorted((a, b) => a - b);
    const entries = terms.map((term, i) => entry(i + 1, term));
    this.raft = start(entries, random.int(0, terms.length), random);
    // Half of the lives begin as a candidate or a leader, so that these meet the messages too.
    if (!random.chance(0.5)) return;
    this.step({ kind: 'campaign' });
    for (const pre of random.chance(0.3) ? [true] : [true, false]) {
      for (const from of [2, 3]) {
        const { term } = this.raft.status;
        const reply = {
          kind: 'voteReply',
          from,
          to: 1,
          term: pre ? term + 1 : term,
          pre,
          granted: true,
        } as const;
        this.step({ kind: 'message', message: reply });
      }
    }
  }

  step(input: Input): void {
    if (this.#random.chance(0.3)) this.#nowMs += this.#random.int(0, 100);
    this.raft.step(this.#nowMs, input);
    for (let output = this.raft.drain(); output !== undefined; output = this.raft.drain()) {
      this.drops += dropsOf([output]).length;
      if (output.write !== undefined)
        this.raft.step(this.#nowMs, { kind: 'persisted', seq: output.write.seq });
      if (output.write?.snapshot !== undefined)
        this.raft.step(this.#nowMs, { kind: 'applied', index: output.write.snapshot.position.index });
      const last = output.apply.at(-1);
      if (last !== undefined) this.raft.step(this.#nowMs, { kind: 'applied', index: last.index });
    }
  }
}

function start(entries: readonly Entry[], commit: number, random: Random): Raft {
  const term = entries.at(-1)?.term ?? 0;
  return new Raft({
    id: 1,
    voters: VOTERS,
    nowMs: 0,
    hard: { term, vote: 0, commit },
    base: { index: 0, term: 0 },
    entries,
    random: random.fork('core'),
  });
}

function follower(entries: readonly Entry[], commit: number): Raft {
  const raft = start(entries, commit, new Random(1));
  drainAll(raft);
  return raft;
}

function entry(index: number, term: number): Entry {
  return makeEntry({ index, term, kind: 'command', payload: utf8(`${index}@${term}`) });
}

function drainAll(raft: Raft): readonly Output[] {
  const outputs: Output[] = [];
  for (let output = raft.drain(); output !== undefined; output = raft.drain()) outputs.push(output);
  return outputs;
}

function dropsOf(outputs: readonly Output[]): readonly string[] {
  return outputs
    .flatMap((output) => output.events)
    .flatMap((event) => (event.kind === 'drop' ? [event.why] : []));
}

/** Any message that the types allow, with numbers near the core's own so that it gets far. */
function anyMessage(random: Random, raft: Raft): Message {
  const { term, last, commit } = raft.status;
  const index = (): number => random.int(0, last.index + 3);
  const position = (): LogPosition => {
    const i = index();
    const own = raft.termAt(i);
    return { index: i, term: own !== undefined && random.chance(0.7) ? own : random.int(0, term + 2) };
  };
  const header = {
    from: random.chance(0.05) ? 1 : random.int(2, 5),
    to: random.chance(0.02) ? 2 : 1,
    // Mostly the core's own term, so that it does not become a follower all the time.
    term: random.chance(0.9) ? term : Math.max(0, term + random.int(-2, 2)),
  };
  const round = random.int(0, 40);
  switch (random.int(0, 6)) {
    case 0:
      return { ...header, kind: 'vote', pre: random.chance(0.5), last: position() };
    case 1:
      return { ...header, kind: 'voteReply', pre: random.chance(0.5), granted: random.chance(0.5) };
    case 2:
      return {
        ...header,
        kind: 'append',
        prev: position(),
        entries: anyEntries(random, index(), term),
        commit: index(),
        round,
      };
    case 3:
      return { ...header, kind: 'appendReply', match: index(), round };
    case 4:
      return { ...header, kind: 'appendReject', rejected: index(), hint: position(), round };
    case 5:
      return { ...header, kind: 'heartbeat', commit: random.chance(0.5) ? commit : index(), round };
    default:
      return { ...header, kind: 'heartbeatReply', round };
  }
}

function anyEntries(random: Random, from: number, term: number): readonly Entry[] {
  let index = from;
  return Array.from({ length: random.int(0, 4) }, () => {
    index += random.chance(0.95) ? 1 : random.int(-1, 3);
    return entry(Math.max(1, index), Math.max(1, term + (random.chance(0.8) ? 0 : random.int(-2, 1))));
  });
}

function recordedInputs(
  random: Random,
  count: number,
): readonly { readonly nowMs: number; readonly input: Input }[] {
  const model = start([], 0, new Random('model'));
  let nowMs = 0;
  return Array.from({ length: count }, () => {
    nowMs += random.int(0, 20);
    const input: Input = random.chance(0.2)
      ? { kind: 'tick' }
      : random.chance(0.05)
        ? { kind: 'campaign' }
        : { kind: 'message', message: anyMessage(random, model) };
    model.step(nowMs, input);
    settle(model, nowMs);
    return { nowMs, input };
  });
}

function outputsOf(inputs: readonly { readonly nowMs: number; readonly input: Input }[]): readonly Output[] {
  const raft = start([], 0, new Random('model'));
  return inputs.flatMap(({ nowMs, input }) => {
    raft.step(nowMs, input);
    return settle(raft, nowMs);
  });
}

function settle(raft: Raft, nowMs: number): readonly Output[] {
  const outputs: Output[] = [];
  for (let output = raft.drain(); output !== undefined; output = raft.drain()) {
    outputs.push(output);
    if (output.write !== undefined) raft.step(nowMs, { kind: 'persisted', seq: output.write.seq });
  }
  expect(outputs.length).toBeLessThan(1_000);
  return outputs;
}
