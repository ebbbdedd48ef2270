/**
 * What a cluster owes once trouble is over (I27). First a majority is left in peace while all others are dead or cut off for
 * good: it must elect a leader and serve. Then all are back: every node must end with the same log and the same state, every
 * request with an answer, and every acknowledged write must be there.
 */
import { at } from '../lib/assert.ts';
import { utf8 } from '../lib/bytes.ts';
import { Random } from '../lib/random.ts';
import type { NodeId } from '../raft/entry.ts';
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
/** Election timeouts that a majority may take for an election; each is up to twice `electionMs`. */
const ELECTIONS = 10;
/** Between two attempts at an operation. */
const RETRY_MS = 10;
const CATCH_UP_MS = 30_000;

/** Ends the trouble of a run and sees it recover. Throws the violation. */
export function recover(run: Recoverable): void {
  const random = new Random(`${run.plan.node.seed}/recovery`);
  const core = leaveInPeace(run, random);
  elect(run, core);
  operate(run, core, random);
  bringBack(run);
}

/** @returns the majority that is left alone */
function leaveInPeace(run: Recoverable, random: Random): readonly NodeId[] {
  const { scheduler, supervisor, plan, nemesis } = run;
  supervisor.hold();
  scheduler.network.heal(plan.calm);
  const majority = Math.floor(plan.nodes.length / 2) + 1;
  const core = shuffled(
    run.sound.filter((id) => !nemesis.damaged.has(id)),
    random,
  ).slice(0, majority);
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
  const seats = core.map((id) => scheduler.seat(id));
  const isDone = (): boolean => {
    const leader = seats.find(({ sight }) => sight?.raft.role === 'leader');
    const { sight } = leader ?? {};
    return sight !== undefined && seats.every((seat) => follows(seat, sight.raft.id, sight.raft.term));
  };
  if (!scheduler.run(scheduler.nowMs + withinMs, isDone))
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
    scheduler.ask(at(core, random.int(0, core.length - 1)), {
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
  settle(run, 'the nodes do not become equal');
  workload.finalReads();
  run.act();
  settle(run, 'clients get no answer');
  const hashes = new Map(scheduler.seats.map(({ id, sight }) => [id, sight?.stateHash]));
  const different = new Set(run.sound.map((id) => hashes.get(id)));
  if (different.size > 1)
    fail('I8 equal states', `all is over, and the states are ${[...different].join(', ')}`);
  const open = scheduler.seats.find((seat) => seat.open.size > 0);
  if (open !== undefined)
    fail('I30 one answer', `n${open.id} has never answered ${[...open.open].join(', ')}`);
}

/** Runs until all logs are equal and applied, and clients wait for nothing. */
function settle(run: Recoverable, complaint: string): void {
  const { scheduler, workload, plan } = run;
  const untilMs = scheduler.nowMs + CATCH_UP_MS + 6 * plan.clientTimeoutMs;
  const isSettled = (): boolean => {
    if (!workload.isIdle) return false;
    const seats = run.sound.map((id) => scheduler.seat(id));
    const last = seats[0]?.sight?.raft.last.index;
    return seats.every(({ sight, open }) => {
      if (sight === undefined || open.size > 0) return false;
      const { raft } = sight;
      return raft.leader !== 0 && raft.applied === raft.last.index && raft.last.index === last;
    });
  };
  if (!scheduler.run(untilMs, isSettled))
    fail(
      'I27 liveness',
      `${complaint}: ${describe(scheduler.seats)}${workload.isIdle ? '' : '; clients wait'}`,
    );
}

function describe(seats: readonly Seat[]): string {
  return seats
    .map(({ id, sight }) => {
      if (sight === undefined) return `n${id} down`;
      const { role, term, leader, commit, applied, last } = sight.raft;
      return `n${id} ${role} of n${leader} in term ${term}, commit ${commit}, applied ${applied}, last ${last.index}@${last.term}`;
    })
    .join('; ');
}
