/** Witnesses in the parts of the core: what they are sent, what they refuse, and configurations that know of none. */
import { describe, expect, it } from 'vitest';
import { textOf, utf8 } from '../../src/lib/bytes.ts';
import {
  ENTRY_HEADER_BYTES,
  decodeEntries,
  encodeEntries,
  makeCommands,
  makeEntry,
  stubsOf,
} from '../../src/raft/entry.ts';
import {
  bootstrapConfig,
  configAfter,
  configAfterJoint,
  configOf,
  decodeConfig,
  encodeConfig,
} from '../../src/raft/membership.ts';
import type { Event, Message } from '../../src/raft/messages.ts';
import { RULES } from '../../src/raft/rules.ts';
import { type Happening, RaftNetwork } from '../support/raft-network.ts';

const commands = makeCommands(
  3,
  1,
  ['one', 'two', 'three'].map((text) => utf8(text)),
);

describe('stubsOf()', () => {
  it('leaves nothing of commands but where they stand, and all of the rest', () => {
    const config = makeEntry({ term: 3, index: 4, kind: 'config', payload: utf8('{}') });
    const stubs = stubsOf([...commands, config], Infinity);
    expect(stubs.map(({ kind, index, term }) => [kind, index, term])).toEqual([
      ['stub', 1, 3],
      ['stub', 2, 3],
      ['stub', 3, 3],
      ['config', 4, 3],
    ]);
    expect(stubs.at(-1)?.payload).toEqual(config.payload);
    expect(decodeEntries(encodeEntries(stubs))).toEqual(stubs);
  });

  it('counts bytes as they travel, and takes one entry however large', () => {
    expect(stubsOf(commands, 2 * ENTRY_HEADER_BYTES)).toHaveLength(2);
    expect(stubsOf(commands, 1)).toHaveLength(1);
  });

  it('is the only stub: one that carries something is refused', () => {
    const [stub] = stubsOf(commands, 1);
    const bytes = new Uint8Array([...(stub?.encoded ?? []), 7]);
    new DataView(bytes.buffer).setUint32(0, 1, true);
    expect(decodeEntries(bytes)).toBeUndefined();
  });
});

describe('a configuration with witnesses', () => {
  const two = bootstrapConfig([1, 2]);

  it('keeps them while they belong to either side of a change', () => {
    const added = configAfter(two, [{ kind: 'addWitness', node: 3, address: 'three' }], 5);
    if (!added.ok) throw new Error(added.problem);
    expect(added.config).toMatchObject({ learners: [3], promoting: [3], witnesses: [3] });
    expect(decodeConfig(encodeConfig(added.config))).toEqual(added.config);
    const voting = configAfter(added.config, [{ kind: 'promote', node: 3 }], 6);
    if (!voting.ok) throw new Error(voting.problem);
    const three = configAfterJoint(voting.config);
    expect(three).toMatchObject({ voters: [1, 2, 3], outgoing: [], witnesses: [3] });
    const leaving = configAfter(three, [{ kind: 'remove', node: 3 }], 7);
    if (!leaving.ok) throw new Error(leaving.problem);
    expect(leaving.config).toMatchObject({ voters: [1, 2], outgoing: [1, 2, 3], witnesses: [3] });
    expect(configAfterJoint(leaving.config).witnesses).toEqual([]);
  });

  it('is read from what was written before there were any, and without them written as then', () => {
    const old = '{"voters":[1,2],"outgoing":[],"learners":[],"promoting":[],"addresses":[],"since":[]}';
    expect(textOf(encodeConfig(two))).toBe(old);
    expect(decodeConfig(utf8(old))).toEqual(two);
  });

  it('names members only', () => {
    const plain = { voters: [1, 2], outgoing: [], learners: [], promoting: [], addresses: [], since: [] };
    expect(configOf({ ...plain, witnesses: [2] })?.witnesses).toEqual([2]);
    expect(configOf({ ...plain, witnesses: [3] })).toBeUndefined();
    expect(configOf({ ...plain, witnesses: 'n2' })).toBeUndefined();
  });
});

describe('RULES.keepsData()', () => {
  it('holds when every majority has a member that is no witness, for one to seven voters', () => {
    for (let count = 1; count <= 7; count++) {
      const voters = Array.from({ length: count }, (_, i) => i + 1);
      for (let witnesses = 0; witnesses <= count; witnesses++) {
        const isMajority = witnesses * 2 > count;
        expect(RULES.keepsData(voters, voters.slice(0, witnesses))).toBe(!isMajority);
      }
    }
  });
});

function started(): { readonly network: RaftNetwork; readonly events: Event[] } {
  const events: Event[] = [];
  const onHappening = (happening: Happening): void => {
    if (happening.kind === 'event' && happening.node >= 2) events.push(happening.event);
  };
  const network = new RaftNetwork({ nodes: 3, witnesses: [3], seed: 1, onHappening });
  network.step(1, { kind: 'campaign' });
  while (network.packets.length > 0) network.deliver(network.packets);
  events.length = 0;
  return { network, events };
}

function tell(network: RaftNetwork, message: Message): void {
  network.step(message.to, { kind: 'message', message });
}

describe('a witness', () => {
  it('does not stand when its leader tells it to, and goes on following', () => {
    const { network, events } = started();
    tell(network, { kind: 'timeoutNow', from: 1, to: 3, term: 1, round: 1 });
    expect(network.node(3).status).toMatchObject({ role: 'follower', term: 1, leader: 1 });
    expect(events).toMatchObject([{ kind: 'drop', why: 'a witness never leads' }]);
  });

  it('takes no snapshot: it would count as a copy of what is in it', () => {
    const { network, events } = started();
    const position = { index: 9, term: 1 };
    const config = network.node(1).core.config;
    network.step(3, { kind: 'snapshotArrived', snapshot: { from: 1, term: 1, position, config } });
    expect(network.node(3).status?.last.index).toBe(1);
    expect(network.packets.filter(({ from }) => from === 3)).toEqual([]);
    expect(events).toEqual([]);
  });

  it('is the only one to begin anew without a snapshot', () => {
    const { network, events } = started();
    const position = { index: 9, term: 1 };
    const config = network.node(1).core.config;
    tell(network, { kind: 'rebase', from: 1, to: 2, term: 1, round: 1, position, config });
    expect(network.node(2).status?.last.index).toBe(1);
    expect(events).toMatchObject([{ kind: 'drop', message: { kind: 'rebase' } }]);
  });
});
