/**
 * The language of the scripts under test/kv/scripts: operations, queries, watches and the lease clock, one command a line, for
 * one state machine.
 *
 *   put K V [lease=N] [prev] [ignore-value] [ignore-lease]    del RANGE [prev]
 *   get RANGE [rev=N] [limit=N] [sort=TARGET] [order=ORDER] [min-mod=N] [max-mod=N] [min-create=N] [max-create=N]
 *       [keys-only] [count-only]
 *   txn { COMPARE ; … } { STEP ; … } { STEP ; … }    a COMPARE: version|create|mod|value|lease RANGE =|!=|>|< OPERAND
 *   compact N · hash [rev=N] · grant ID SECONDS · keepalive ID · revoke ID · checkpoint ID MS · ttl ID [keys] · leases
 *   set K V · delete K · cas K OLD|- NEW · state · restart
 *   watch NAME RANGE [from=N] [no-put] [no-delete] [prev] · take NAME [bytes=N] · progress NAME · unwatch NAME
 *   promote at=MS extend=MS · demote · renew ID at=MS · left ID at=MS · expired at=MS [max=N] · worth-a-note at=MS [max=N]
 *
 * A RANGE is K, K.. (to the end), K..L, or .. (everything); "" is the empty string.
 */
import { encodeCommand } from '../../src/kv/command-codec.ts';
import type { Command } from '../../src/kv/command.ts';
import { LeaseClock } from '../../src/kv/lease-clock.ts';
import {
  type Compare,
  type CompareResult,
  type KeyValue,
  type LeaseRemaining,
  type Operation,
  type OperationResult,
  type Put,
  type QueryResult,
  type RangeQuery,
  type SortOrder,
  type SortTarget,
  type Txn,
  type TxnStep,
  type TxnStepResult,
  keyOnly,
} from '../../src/kv/operation.ts';
import { StateMachine } from '../../src/kv/state-machine.ts';
import type { Taken, WatchEvent, Watcher } from '../../src/kv/watch.ts';
import { defined, unreachable } from '../../src/lib/assert.ts';
import { fromLatin1, latin1 } from '../../src/lib/bytes.ts';
import type { KeyRange, VersionEngine } from '../../src/storage/version-engine.ts';

const OPERANDS: ReadonlyMap<string, CompareResult> = new Map([
  ['=', 'equal'],
  ['!=', 'notEqual'],
  ['>', 'greater'],
  ['<', 'less'],
]);
const TARGETS: ReadonlyMap<string, SortTarget> = new Map([
  ['key', 'key'],
  ['version', 'version'],
  ['create', 'createRevision'],
  ['mod', 'modRevision'],
  ['value', 'value'],
]);
const ORDERS: ReadonlyMap<string, SortOrder> = new Map([
  ['none', 'none'],
  ['ascending', 'ascending'],
  ['descending', 'descending'],
]);

/** The words of one command. */
class Words {
  readonly #words: readonly string[];
  #next = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  word(): string {
    const word = defined(this.#words[this.#next], 'word');
    this.#next += 1;
    return word === '""' ? '' : word;
  }

  skip(expected: string): boolean {
    if (this.#words[this.#next] !== expected) return false;
    this.#next += 1;
    return true;
  }

  get isAtEnd(): boolean {
    return this.#next >= this.#words.length;
  }

  /** All that follows up to a separator, as names with their values. */
  options(): ReadonlyMap<string, string> {
    const options = new Map<string, string>();
    while (!this.isAtEnd && !['}', ';'].includes(defined(this.#words[this.#next], 'word'))) {
      const [name = '', value = ''] = this.word().split('=');
      options.set(name, value);
    }
    return options;
  }
}

export class KvScript {
  readonly #engine: VersionEngine;
  #machine: StateMachine;
  #clock: LeaseClock;
  readonly #watchers = new Map<string, Watcher>();
  #woken: string[] = [];

  constructor(engine: VersionEngine) {
    this.#engine = engine;
    this.#machine = new StateMachine(engine);
    this.#clock = new LeaseClock(this.#machine.leases);
  }

  /** Carries out a command. @returns what it shows */
  run(command: string): string {
    const words = new Words(command.split(/\s+/).filter((word) => word !== ''));
    const verb = words.word();
    const shown = this.#run(verb, words);
    const woken = this.#woken.map((name) => `${name} wakes`);
    this.#woken = [];
    if (!words.isAtEnd) throw new Error(`Cannot run "${command}": words are left over`);
    return [shown, ...woken].filter((line) => line !== '').join('\n');
  }

  #run(verb: string, words: Words): string {
    switch (verb) {
      case 'get':
        return showQuery(this.#machine.query(rangeQuery(words)));
      case 'hash':
        return showQuery(this.#machine.query({ kind: 'hash', revision: number(words.options(), 'rev') }));
      case 'ttl':
        return showQuery(
          this.#machine.query({
            kind: 'leaseTimeToLive',
            id: BigInt(words.word()),
            keys: words.options().has('keys'),
          }),
        );
      case 'leases':
        return showQuery(this.#machine.query({ kind: 'leases' }));
      case 'read-txn':
        return showQuery(this.#machine.query(txn(words)));
      case 'set':
      case 'delete':
      case 'cas':
        return this.#short(verb, words);
      case 'state':
        return this.#state();
      case 'restart':
        return this.#restart();
      case 'watch':
      case 'take':
      case 'progress':
      case 'unwatch':
        return this.#watch(verb, words);
      case 'promote':
      case 'demote':
      case 'renew':
      case 'left':
      case 'expired':
      case 'worth-a-note':
        return this.#tell(verb, words);
      default:
        return this.#operate(operation(verb, words));
    }
  }

  #apply(command: Command): ReturnType<StateMachine['apply']> {
    return this.#machine.apply(this.#machine.applied + 1, encodeCommand(command));
  }

  #operate(asked: Operation): string {
    const answer = this.#apply({ kind: 'operation', operation: asked });
    return answer.kind === 'operation' ? showResult(answer.result) : answer.kind;
  }

  #short(verb: 'set' | 'delete' | 'cas', words: Words): string {
    const key = words.word();
    const command = (): Command => {
      if (verb === 'delete') return { kind: verb, key };
      if (verb === 'set') return { kind: verb, key, value: fromLatin1(words.word()) };
      const old = words.word();
      const expected = old === '-' ? undefined : fromLatin1(old);
      return { kind: verb, key, expected, value: fromLatin1(words.word()) };
    };
    const result = this.#apply(command());
    const existed = result.kind === 'ok' && result.existed !== undefined ? ` existed=${result.existed}` : '';
    return `${result.kind}${existed} rev=${this.#machine.revision}`;
  }

  #state(): string {
    const { revision, compactedRevision, count, bytes } = this.#machine;
    return `rev=${revision} compacted=${compactedRevision} keys=${count} bytes=${bytes}`;
  }

  /** The machine forgets everything but its lines, as over a checkpoint; watchers stay, as over an installed one. */
  #restart(): string {
    const lines = this.#machine.stateLines();
    const { applied } = this.#machine;
    const hash = this.#machine.stateHash();
    const other = new StateMachine(this.#engine);
    other.restore(applied, lines);
    if (other.stateHash() !== hash) throw new Error('Restored state differs');
    this.#clock.demote();
    this.#machine = other;
    this.#clock = new LeaseClock(other.leases);
    this.#watchers.clear();
    return this.#state();
  }

  #watch(verb: 'watch' | 'take' | 'progress' | 'unwatch', words: Words): string {
    const name = words.word();
    if (verb === 'watch') {
      const range = keys(words.word());
      const options = words.options();
      const watcher = this.#machine.watches.watch(
        {
          range,
          startRevision: number(options, 'from'),
          noPut: options.has('no-put'),
          noDelete: options.has('no-delete'),
          prevKv: options.has('prev'),
        },
        () => this.#woken.push(name),
      );
      this.#watchers.set(name, defined(watcher, 'room for a watcher'));
      return '';
    }
    const watcher = defined(this.#watchers.get(name), 'watcher');
    if (verb === 'progress') return `progress ${watcher.progress}`;
    if (verb === 'unwatch') {
      watcher.close();
      return '';
    }
    return showTaken(watcher.take(number(words.options(), 'bytes', 1_000_000)));
  }

  #tell(verb: 'promote' | 'demote' | 'renew' | 'left' | 'expired' | 'worth-a-note', words: Words): string {
    const id = verb === 'renew' || verb === 'left' ? BigInt(words.word()) : 0n;
    const options = words.options();
    const nowMs = number(options, 'at');
    const max = number(options, 'max', 500);
    if (verb === 'promote') this.#clock.promote(nowMs, number(options, 'extend'));
    else if (verb === 'demote') this.#clock.demote();
    else if (verb === 'renew') return this.#clock.renew(id, nowMs);
    else if (verb === 'left') return `${this.#clock.remainingMs(id, nowMs) ?? 'unknown'}`;
    else if (verb === 'expired') return `expired: ${this.#clock.expired(nowMs, max).join(' ') || 'none'}`;
    else {
      const due = this.#clock.checkpointsDue(nowMs, max);
      return due
        .map(({ id: lease, remainingMs }: LeaseRemaining) => `${lease} left=${remainingMs}`)
        .join('\n');
    }
    return '';
  }
}

function operation(verb: string, words: Words): Operation {
  switch (verb) {
    case 'put':
      return put(words);
    case 'del':
      return { kind: 'deleteRange', range: keys(words.word()), prevKv: words.options().has('prev') };
    case 'txn':
      return txn(words);
    case 'compact':
      return { kind: 'compact', revision: Number(words.word()) };
    case 'grant':
      return { kind: 'leaseGrant', id: BigInt(words.word()), ttlSeconds: Number(words.word()) };
    case 'keepalive':
      return { kind: 'leaseKeepAlive', id: BigInt(words.word()) };
    case 'revoke':
      return { kind: 'leaseRevoke', id: BigInt(words.word()) };
    case 'checkpoint':
      return {
        kind: 'leaseCheckpoint',
        remaining: [{ id: BigInt(words.word()), remainingMs: Number(words.word()) }],
      };
    default:
      throw new Error(`Unknown command ${verb}`);
  }
}

function put(words: Words): Put {
  const key = words.word();
  const value = fromLatin1(words.word());
  const options = words.options();
  return {
    kind: 'put',
    key,
    value,
    lease: BigInt(options.get('lease') ?? 0),
    prevKv: options.has('prev'),
    ignoreValue: options.has('ignore-value'),
    ignoreLease: options.has('ignore-lease'),
  };
}

function rangeQuery(words: Words): RangeQuery {
  const range = keys(words.word());
  const options = words.options();
  return {
    kind: 'range',
    range,
    revision: number(options, 'rev'),
    limit: number(options, 'limit'),
    sortTarget: defined(TARGETS.get(options.get('sort') ?? 'key'), 'target'),
    sortOrder: defined(ORDERS.get(options.get('order') ?? 'none'), 'order'),
    minModRevision: number(options, 'min-mod'),
    maxModRevision: number(options, 'max-mod'),
    minCreateRevision: number(options, 'min-create'),
    maxCreateRevision: number(options, 'max-create'),
    keysOnly: options.has('keys-only'),
    countOnly: options.has('count-only'),
  };
}

function txn(words: Words): Txn {
  const compares = block(words, () => compare(words));
  const success = block(words, () => step(words));
  return { kind: 'txn', compares, success, failure: block(words, () => step(words)) };
}

function block<T>(words: Words, item: () => T): readonly T[] {
  if (!words.skip('{')) throw new Error('A block begins with {');
  const items: T[] = [];
  while (!words.skip('}')) {
    items.push(item());
    words.skip(';');
  }
  return items;
}

function step(words: Words): TxnStep {
  const verb = words.word();
  if (verb === 'get') return rangeQuery(words);
  const found = operation(verb, words);
  if (found.kind === 'put' || found.kind === 'deleteRange' || found.kind === 'txn') return found;
  throw new Error(`Not a step: ${verb}`);
}

function compare(words: Words): Compare {
  const target = words.word();
  const range = keys(words.word());
  const result = defined(OPERANDS.get(words.word()), 'comparison');
  const operand = words.word();
  if (target === 'value') return { kind: 'value', range, result, operand: fromLatin1(operand) };
  if (target === 'lease') return { kind: 'lease', range, result, operand: BigInt(operand) };
  const kind = target === 'mod' ? 'modRevision' : target === 'create' ? 'createRevision' : 'version';
  return { kind, range, result, operand: Number(operand) };
}

function keys(text: string): KeyRange {
  const dots = text.indexOf('..');
  if (dots < 0) return keyOnly(text);
  const end = text.slice(dots + 2);
  return { start: text.slice(0, dots), end: end === '' ? undefined : end };
}

function number(options: ReadonlyMap<string, string>, name: string, otherwise = 0): number {
  return Number(options.get(name) ?? otherwise);
}

function showRow(row: KeyValue): string {
  const { key, value, createRevision, modRevision, version, lease } = row;
  const attached = lease === 0n ? '' : ` lease=${lease}`;
  return `${key}=${latin1(value)} create=${createRevision} mod=${modRevision} version=${version}${attached}`;
}

function showQuery(result: QueryResult): string {
  switch (result.kind) {
    case 'range':
    case 'txn':
      return showStep(result).join('\n');
    case 'page':
      return `page ${result.rows.map(({ key }) => key).join(' ')} more=${result.more} rev=${result.revision}`;
    case 'leaseTimeToLive': {
      if (result.lease === undefined) return `lease ${result.id}: unknown`;
      const { grantedTtlSeconds, remainingMs, keys: attached } = result.lease;
      const list = attached.length === 0 ? '' : ` keys=${attached.join(',')}`;
      return `lease ${result.id}: granted=${grantedTtlSeconds} left=${remainingMs}${list}`;
    }
    case 'leases':
      return `leases: ${result.ids.join(' ') || 'none'} rev=${result.revision}`;
    case 'hash':
      return `hash ${result.hash} compacted=${result.compactedRevision} rev=${result.revision}`;
    case 'refused':
      return showResult(result);
    default:
      return unreachable(result);
  }
}

function showResult(result: OperationResult): string {
  switch (result.kind) {
    case 'put':
    case 'deleteRange':
    case 'txn':
      return showStep(result).join('\n');
    case 'leaseGrant':
    case 'leaseKeepAlive':
      return `${result.kind} ${result.id} ttl=${result.ttlSeconds} rev=${result.revision}`;
    case 'leaseRevoke':
      return `${result.kind} ${result.id} rev=${result.revision}`;
    case 'refused':
      return `refused: ${result.reason} rev=${result.revision} compacted=${result.compactedRevision}`;
    case 'compact':
    case 'leaseCheckpoint':
      return `${result.kind} rev=${result.revision}`;
    default:
      return unreachable(result);
  }
}

function indent(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

function showStep(result: TxnStepResult): readonly string[] {
  switch (result.kind) {
    case 'range': {
      const more = result.more ? ' more' : '';
      return [`${result.count} keys${more} rev=${result.revision}`, ...indent(result.rows.map(showRow))];
    }
    case 'put':
      return [
        `put rev=${result.revision}`,
        ...(result.previous === undefined ? [] : [`  was ${showRow(result.previous)}`]),
      ];
    case 'deleteRange':
      return [
        `deleted ${result.deleted} rev=${result.revision}`,
        ...result.previous.map((row) => `  was ${showRow(row)}`),
      ];
    case 'txn':
      return [
        `txn ${result.succeeded ? 'then' : 'else'} rev=${result.revision}`,
        ...result.responses.flatMap((response) => indent(showStep(response))),
      ];
    default:
      return unreachable(result);
  }
}

function showTaken(taken: Taken | undefined): string {
  if (taken === undefined) return 'nothing';
  if (taken.kind === 'compacted') return `ended: compacted=${taken.compactedRevision}`;
  return [...taken.events.map(showEvent), `rev=${taken.revision}`].join('\n');
}

function showEvent(event: WatchEvent): string {
  const was = event.previous === undefined ? '' : `, was ${showRow(event.previous)}`;
  if (event.kind === 'put') return `PUT ${showRow(event.row)}${was}`;
  return `DELETE ${event.key} mod=${event.revision}${was}`;
}
