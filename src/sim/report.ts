/** What one simulated run says of itself: the same for every profile, so that campaigns, shrinking and tables need to know nothing else. */

import type { Breaker } from './host.ts';

/** The kinds of run. `core` drives the Raft core alone on a modelled disk; the others drive whole nodes. */
export const PROFILES = ['core', 'full', 'membership', 'disk', 'lease'] as const;

export type ProfileName = (typeof PROFILES)[number];

export interface RunOptions {
  readonly seed: number;
  /** Name of a broken rule or duty, for lessons and mutants; undefined for the sound system. */
  readonly broken?: string;
  /**
   * Disturbances that are left out, by number. Every disturbance of a run draws from a stream of its own, so that leaving one
   * out changes nothing else: this is how a failure is shrunk.
   */
  readonly omit?: ReadonlySet<number>;
  /** Called with a line of text for everything that happens. */
  readonly trace?: (line: string) => void;
}

/** Something that a run did to the system: a fault, a repair, a change of members. */
export interface Disturbance {
  /** Its number within the run; what `omit` names. */
  readonly number: number;
  readonly atMs: number;
  /** As a person would say it: `cut n1 from n2 n3`. */
  readonly text: string;
}

/** What a run did. */
export interface RunReport {
  readonly profile: ProfileName;
  readonly seed: number;
  readonly simulatedMs: number;
  readonly events: number;
  /** Hash over every event and its outcome: equal for equal runs. */
  readonly hash: string;
  readonly operations: { readonly ok: number; readonly failed: number; readonly unknown: number };
  /** How often each kind of fault happened. */
  readonly faults: Readonly<Record<string, number>>;
  /** Rare paths that were reached. */
  readonly probes: readonly string[];
  /** Too little was acknowledged, and no fault explains it: this run proves nothing. */
  readonly isVacuous: boolean;
}

/** A run that found something. */
export interface RunFailure {
  /** Short name of what was violated: `I1 election safety`, `I14 linearizability`, `I27 liveness`, `I30 assertion`. */
  readonly invariant: string;
  /** What was seen, in one sentence. */
  readonly message: string;
  readonly atMs: number;
  readonly event: number;
  /** Every disturbance that was carried out, in order. */
  readonly script: readonly Disturbance[];
}

export interface RunResult {
  readonly report: RunReport;
  /** Undefined when everything held. */
  readonly failure: RunFailure | undefined;
}

/** Runs one seed. Never throws for what the system under test does: that is a failure of the run. */
export type RunSeed = (options: RunOptions, breaker: Breaker) => RunResult;
