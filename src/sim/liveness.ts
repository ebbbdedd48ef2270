/**
 * What a cluster owes once trouble is over (I27). First a majority is left in peace while all others are dead or cut off for
 * good: it must elect a leader and serve. Then all are back: every node must end with the same log and the same state, every
 * request with an answer, and every acknowledged write must be there.
 */
import { at } from '../lib/assert.ts';
import { utf8 } from '../lib/bytes.ts';
import { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
import { type Config, membersOf } from '../raft/membership.ts';
import { HEALTHY_DISK } from './host.ts';
import { shuffled } from './network.ts';
import type { RunPlan } from './draw.ts';
import type { Nemesis } from './nemesis.ts';
import type { Scheduler } from './scheduler.ts';
import type { Seat } from './seat.ts';
import type { Supervisor } from './supervisor.ts';
import { fail } from './violation.ts';
import type { Workload } from './workload.ts';

/** A run, as far as its recovery needs it. */
export interface Recoverable {
  readonly plan: RunPlan;
  readonly scheduler: Scheduler;
  readonly supervisor: Supervisor;
  readonly nemesis: Nemesis;
  readonly workload: Workload;
  /** Nodes whose disk holds what it should: all that the cluster consists of. */
  readonly sound: readonly NodeId[];
  /** Clients ask these nodes from now on, and begin nothing new. */
  serve(nodes: readonly NodeId[]): void;
  /** Lets the clients go on. */
  act(): void;
}

/** Operations that a majority must answer. */
const OPERATIONS = 20;
/** Their numbers, far from those of the clients. */
const FIRST_ID = 1_000_000_000;
const FIRST_WAKING_ID = 1_500_000_000;
/** What is on its way may be this late. */
const LATE_MS = 2000;
/** By then every node has been started. */
const WAKING_MS = 25;
/** Election timeouts that a majority may take for an election; each is up to twice `electionMs`. */
const ELECTIONS = 10;
/** Between two attempts at an operation. */
const RETRY_MS = 10;
const CATCH_UP_MS = 30_000;

/** Ends the trouble of a run and sees it recover. Throws the violation. */
export function recover(run: Recoverable): void {
  const random = new Random(`${run.plan.node.seed}/recovery`);
  run.supervisor.hold();
  if (run.plan.nodes.length > run.plan.node.voters.length) endChanges(run);
  const core = leaveInPeace(run, drawCore(run, random), random);
  elect(run, core);
  operate(run, core, random);
  bringBack(run);
}

/**
 * Lets changes of members that are under way come to an end, with all nodes there: until then nobody can say whose majority
 * will count.
 */
function endChanges(run: Recoverable): void {
  const { scheduler, plan } = run;
  scheduler.remark('let changes of members come to an end');
  scheduler.network.heal(plan.calm);
  for (const { id, isUp } of scheduler.seats) {
    scheduler.setDisk(id, HEALTHY_DISK);
    if (isUp) scheduler.resume(id);
    revive(run, id, 0);
  }
  scheduler.run(scheduler.nowMs + 2 * plan.node.requestTimeoutMs + ELECTIONS * 2 * plan.electionMs + LATE_MS);
}

/** A majority of the voters. While members change, several may come to count: then nobody is taken away. */
function drawCore(run: Recoverable, random: Random): readonly NodeId[] {
  const { scheduler, nemesis } = run;
  const known = scheduler.seats.flatMap(({ config }) => (config === undefined ? [] : [config]));
  const [first] = known.filter(({ voters }) => voters.length > 0);
  const members = first === undefined ? [] : membersOf(first);
  // Who waits to be added, or was removed, may be of any opinion.
  const isAgreed = scheduler.seats.every(
    ({ id, config }) =>
      !members.includes(id) || (config !== undefined && first !== undefined && areEqual(config, first)),
  );
  const whole = run.sound.filter((id) => !nemesis.damaged.has(id));
  if (first === undefined || !isAgreed || first.outgoing.length > 0 || first.promoting.length > 0)
    return whole;
  const majority = Math.floor(first.voters.length / 2) + 1;
  const voters = whole.filter((id) => first.voters.includes(id));
  return shuffled(voters, random).slice(0, majority);
}

function areEqual(a: Config, b: Config): boolean {
  return String([a.voters, a.outgoing, a.promoting]) === String([b.voters, b.outgoing, b.promoting]);
}

/** @returns the core */
function leaveInPeace(run: Recoverable, core: readonly NodeId[], random: Random): readonly NodeId[] {
  const { scheduler, plan } = run;
  scheduler.network.heal(plan.calm);
  for (const { id, isUp } of scheduler.seats) {
    scheduler.setDisk(id, HEALTHY_DISK);
    if (isUp) scheduler.resume(id);
    if (core.includes(id)) revive(run, id, random.ratio() * 20);
    else if (isUp && random.chance(0.5)) scheduler.crash(id);
    else for (const other of plan.nodes) if (other !== id) cutOff(run, id, other);
  }
  run.serve(core);
  run.act();
  const names = core.map((id) => `n${id}`).join(' ');
  scheduler.remark(`leave ${names} in peace, and take the others away`);
  return core;
}

/** The nodes of the core that belong to the cluster as its leader knows it; undefined without a leader. */
function membersIn(run: Recoverable, core: readonly NodeId[]): readonly Seat[] | undefined {
  const seats = core.map((id) => run.scheduler.seat(id));
  const leaders = seats.filter(({ sight }) => sight?.raft.role === 'leader');
  const [leader] = leaders.toSorted((a, b) => (b.sight?.raft.term ?? 0) - (a.sight?.raft.term ?? 0));
  if (leader?.config === undefined) return undefined;
  const members = membersOf(leader.config);
  return [leader, ...seats.filter((seat) => seat !== leader && members.includes(seat.id))];
}

function cutOff(run: Recoverable, id: NodeId, other: NodeId): void {
  run.scheduler.network.cut(id, other);
  run.scheduler.network.cut(other, id);
}

/** Starts a node that is down, and starts one anew that has given up its disk. */
function revive(run: Recoverable, id: NodeId, delayMs: number): void {
  const seat = run.scheduler.seat(id);
  if (seat.isUp && seat.sight?.storage === 'failed') run.scheduler.crash(id);
  if (!seat.isUp) run.supervisor.startAfter(id, delayMs);
}

function elect(run: Recoverable, core: readonly NodeId[]): void {
  const { scheduler, plan } = run;
  const withinMs = ELECTIONS * 2 * plan.electionMs + 100;
  // Somebody must want something: a cluster that is asleep elects nobody.
  for (const [i, id] of core.entries()) {
    const wakeUp = (): void =>
      scheduler.ask(id, {
        id: FIRST_WAKING_ID + i,
        request: { kind: 'get', key: utf8('live') },
        forward: true,
        done: () => undefined,
      });
    scheduler.after(WAKING_MS, wakeUp);
  }
  const isDone = (): boolean => {
    const members = membersIn(run, core);
    const raft = members?.[0]?.sight?.raft;
    return (
      raft !== undefined &&
      members !== undefined &&
      members.every((seat) => follows(seat, raft.id, raft.term))
    );
  };
  if (scheduler.run(scheduler.nowMs + withinMs, isDone)) return;
  const seats = core.map((id) => scheduler.seat(id));
  fail('I27 liveness', `a majority in peace has no leader after ${withinMs} ms: ${describe(seats)}`);
}

function follows({ sight }: Seat, leader: NodeId, term: number): boolean {
  return sight !== undefined && sight.raft.leader === leader && sight.raft.term === term;
}

/** Every operation must be done by then; one that meets the end of a leader is tried again. */
function operate(run: Recoverable, core: readonly NodeId[], random: Random): void {
  const { scheduler, plan } = run;
  const withinMs = ELECTIONS * 2 * plan.electionMs + plan.node.requestTimeoutMs;
  let done = 0;
  let nextId = FIRST_ID;
  let complaint = 'no answer';
  const ask = (i: number): void => {
    const able = membersIn(run, core)?.map(({ id }) => id) ?? core;
    scheduler.ask(at(able, random.int(0, able.length - 1)), {
      id: nextId++,
      request: { kind: 'set', key: utf8(`live${i}`), value: utf8(`${nextId}`) },
      forward: true,
      done: (answer) => {
        if (answer !== 'lost' && answer.kind === 'ok') done += 1;
        else {
          complaint =
            answer === 'lost' || answer.kind !== 'error' ? 'lost' : `${answer.code}: ${answer.message}`;
          scheduler.after(RETRY_MS, () => ask(i));
        }
      },
    });
  };
  for (let i = 0; i < OPERATIONS; i++) ask(i);
  if (scheduler.run(scheduler.nowMs + withinMs, () => done === OPERATIONS)) return;
  const seats = core.map((id) => scheduler.seat(id));
  fail(
    'I27 liveness',
    `a majority in peace did ${done} of ${OPERATIONS} writes in ${withinMs} ms (${complaint}): ${describe(seats)}`,
  );
}

function bringBack(run: Recoverable): void {
  const { scheduler, plan, workload } = run;
  scheduler.remark('bring all back');
  scheduler.network.heal(plan.calm);
  for (const id of run.sound) revive(run, id, 0);
  run.serve(run.sound);
  run.act();
  const members = settle(run, 'the nodes do not become equal');
  run.serve(members.map(({ id }) => id));
  workload.finalReads();
  run.act();
  const hashes = new Set(settle(run, 'clients get no answer').map(({ sight }) => sight?.stateHash));
  if (hashes.size > 1) fail('I8 equal states', `all is over, and the states are ${[...hashes].join(', ')}`);
}

/**
 * Runs until the logs of all members are equal and applied, nobody is on the way in or out, and nobody waits for an answer.
 *
 * @returns the members
 */
function settle(run: Recoverable, complaint: string): readonly Seat[] {
  const { scheduler, workload, plan } = run;
  const untilMs = scheduler.nowMs + CATCH_UP_MS + 6 * plan.clientTimeoutMs;
  const isSettled = (): boolean => {
    if (!workload.isIdle || scheduler.seats.some(({ open }) => open.size > 0)) return false;
    const members = membersIn(run, run.sound);
    const last = members?.[0]?.sight?.raft.last.index;
    return members !== undefined && members.every((seat) => isUpToDate(seat, last));
  };
  const isDone = scheduler.run(untilMs, isSettled);
  const members = membersIn(run, run.sound);
  const why = workload.isIdle ? '' : '; clients wait';
  if (!isDone || members === undefined)
    fail('I27 liveness', `${complaint}: ${describe(scheduler.seats)}${why}`);
  return members;
}

function isUpToDate({ sight }: Seat, last: number | undefined): boolean {
  if (sight === undefined) return false;
  const { leader, applied, last: own, config } = sight.raft;
  return leader !== 0 && applied === own.index && own.index === last && config.outgoing.length === 0;
}

function describe(seats: readonly Seat[]): string {
  return seats
    .map(({ id, sight, open }) => {
      const waiting = open.size > 0 ? `, ${open.size} requests wait` : '';
      if (sight === undefined) return `n${id} down`;
      const { role, term, leader, commit, applied, last } = sight.raft;
      return `n${id} ${role} of n${leader} in term ${term}, commit ${commit}, applied ${applied}, last ${last.index}@${last.term}${waiting}`;
    })
    .join('; ');
}
