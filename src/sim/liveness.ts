/**
 * What a cluster owes once trouble is over (I27). First a majority is left in peace while all others are dead, cut off or
 * slow for good: it must elect a leader and serve, without a gap (I28). Then all are back: every node must end with the
 * same log and the same state, every request with an answer, and every acknowledged write must be there. From the election
 * on messages are counted (I26).
 */
import { at, unreachable } from '../lib/assert.ts';
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
import { Availability, type TrafficMeter } from './service.ts';
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
  readonly traffic: TrafficMeter;
  /** Nodes whose disk holds what it should: all that the cluster consists of. */
  readonly sound: readonly NodeId[];
  /** Clients ask these nodes from now on, and begin nothing new. */
  serve(nodes: readonly NodeId[]): void;
  /** Lets the clients go on. */
  act(): void;
}

/** Writes that a majority must answer, and the clients that share them. */
const OPERATIONS = 20;
const WRITERS = 4;
/** Election timeouts without an acknowledged write; each is up to twice `electionMs`. */
const GAP_ELECTIONS = 5;
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
  const peace = leaveInPeace(run, drawCore(run, random), random);
  elect(run, peace);
  run.traffic.begin(run.scheduler.nowMs);
  operate(run, peace, random);
  bringBack(run);
  run.traffic.check(run.scheduler.nowMs);
}

/** What becomes of a node that is not left in peace, for as long as others are. */
const FATES = ['dead', 'away', 'deaf', 'dumb', 'slow'] as const;

/** Who is left in peace, and those of the others who may lead all the same. */
interface Peace {
  readonly core: readonly NodeId[];
  readonly slow: readonly NodeId[];
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
    scheduler.mendDisk(id);
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

function leaveInPeace(run: Recoverable, core: readonly NodeId[], random: Random): Peace {
  const { scheduler, plan } = run;
  scheduler.network.heal(plan.calm);
  const slow: NodeId[] = [];
  const fates: string[] = [];
  for (const { id, isUp } of scheduler.seats) {
    scheduler.mendDisk(id);
    if (isUp) scheduler.resume(id);
    if (core.includes(id)) revive(run, id, random.ratio() * 20);
    else {
      const fate = at(FATES, random.int(0, FATES.length - 1));
      strike(run, id, fate, random);
      if (fate === 'slow') slow.push(id);
      fates.push(`n${id} ${fate}`);
    }
  }
  run.serve(core);
  run.act();
  const names = core.map((id) => `n${id}`).join(' ');
  scheduler.remark(`leave ${names} in peace; ${fates.join(', ') || 'nobody else is there'}`);
  return { core, slow };
}

function strike(run: Recoverable, id: NodeId, fate: (typeof FATES)[number], random: Random): void {
  const { scheduler, plan } = run;
  const { network } = scheduler;
  const others = plan.nodes.filter((other) => other !== id);
  const isUp = scheduler.seat(id).isUp;
  if (fate !== 'dead') revive(run, id, 0);
  switch (fate) {
    case 'dead':
      if (isUp) scheduler.crash(id);
      return;
    case 'away':
    case 'deaf':
    case 'dumb':
      for (const other of others) {
        if (fate !== 'dumb') network.cut(other, id);
        if (fate !== 'deaf') network.cut(id, other);
      }
      return;
    case 'slow':
      // A leader that sends one entry at a time must still keep up with its clients.
      return scheduler.setDisk(id, { ...HEALTHY_DISK, syncMs: (random.ratio() * plan.electionMs) / 5 });
    default:
      return unreachable(fate);
  }
}

/**
 * The leader, if it is one of these, and the nodes of the core that belong to the cluster as it knows it; undefined without
 * a leader.
 */
function membersIn(
  run: Recoverable,
  core: readonly NodeId[],
  slow: readonly NodeId[] = [],
): readonly Seat[] | undefined {
  const seats = core.map((id) => run.scheduler.seat(id));
  const able = [...seats, ...slow.map((id) => run.scheduler.seat(id))];
  const leaders = able.filter(({ sight }) => sight?.raft.role === 'leader');
  const [leader] = leaders.toSorted((a, b) => (b.sight?.raft.term ?? 0) - (a.sight?.raft.term ?? 0));
  if (leader?.config === undefined) return undefined;
  const members = membersOf(leader.config);
  return [leader, ...seats.filter((seat) => seat !== leader && members.includes(seat.id))];
}

/** Starts a node that is down, and starts one anew that has given up its disk. */
function revive(run: Recoverable, id: NodeId, delayMs: number): void {
  const seat = run.scheduler.seat(id);
  if (seat.isUp && seat.sight?.storage === 'failed') run.scheduler.crash(id);
  if (!seat.isUp) run.supervisor.startAfter(id, delayMs);
}

function elect(run: Recoverable, { core, slow }: Peace): void {
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
    const members = membersIn(run, core, slow);
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

/** Some clients write, one value after the other; a write that meets the end of a leader is tried again. */
function operate(run: Recoverable, { core, slow }: Peace, random: Random): void {
  const { scheduler, plan } = run;
  const watch = new Availability(GAP_ELECTIONS * 2 * plan.electionMs, scheduler.nowMs);
  let begun = 0;
  let done = 0;
  let nextId = FIRST_ID;
  const next = (): void => {
    if (begun < OPERATIONS) write(begun++);
  };
  const write = (i: number): void => {
    const able = membersIn(run, core, slow)?.map(({ id }) => id) ?? core;
    scheduler.ask(at(able, random.int(0, able.length - 1)), {
      id: nextId++,
      request: { kind: 'set', key: utf8(`live${i}`), value: utf8(`${nextId}`) },
      forward: true,
      done: (answer) => {
        const isDone = answer !== 'lost' && answer.kind === 'ok';
        if (!isDone) return scheduler.after(RETRY_MS, () => write(i));
        done += 1;
        watch.acknowledged(scheduler.nowMs);
        scheduler.after(random.ratio() * plan.electionMs, next);
      },
    });
  };
  for (let i = 0; i < WRITERS; i++) next();
  const isDone = (): boolean => {
    if (done < OPERATIONS) watch.check(scheduler.nowMs);
    return done === OPERATIONS;
  };
  // Without any event no time passes, and so no check.
  const withinMs = OPERATIONS * GAP_ELECTIONS * 2 * plan.electionMs;
  if (scheduler.run(scheduler.nowMs + withinMs, isDone)) return;
  const seats = core.map((id) => scheduler.seat(id));
  fail(
    'I27 liveness',
    `a majority in peace did ${done} of ${OPERATIONS} writes in ${withinMs} ms: ${describe(seats)}`,
  );
}

function bringBack(run: Recoverable): void {
  const { scheduler, supervisor, plan, workload } = run;
  scheduler.remark('bring all back');
  // Damage may show only now, and then the node starts again.
  supervisor.release();
  scheduler.network.heal(plan.calm);
  for (const id of run.sound) {
    scheduler.mendDisk(id);
    revive(run, id, 0);
  }
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
