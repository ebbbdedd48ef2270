/** What a campaign of simulated seeds tells people and programs. */
import type { ProfileName } from '../sim/report.ts';
import type { Shrunk } from '../sim/shrink.ts';
import type { SeedFailure, Totals } from '../sim/tally.ts';

/** Rare paths named in a summary. */
const NAMES_MAX = 12;

/** One line that overwrites itself on a terminal. */
export function progressLine(totals: Totals, seedCount: number, elapsedMs: number): string {
  const share = totals.seeds / seedCount;
  const filled = Math.round(share * 24);
  const leftSeconds = Math.round((elapsedMs / 1000) * (1 / Math.max(share, 1e-9) - 1));
  const bar = '█'.repeat(filled).padEnd(24, '░');
  const found = totals.failures.length === 0 ? '' : `, ${totals.failures.length} found`;
  return `\r\x1b[K${bar} ${totals.seeds} of ${seedCount} seeds, ${leftSeconds} s left${found}`;
}

/** The summary of a campaign. */
export function describeTotals(
  profile: ProfileName,
  totals: Totals,
  seconds: number,
  jobs: number,
): readonly string[] {
  const perMinute = Math.round((totals.seeds / seconds) * 60);
  const hours = totals.simulatedMs / 3_600_000;
  const speed = Math.round(totals.simulatedMs / 1000 / seconds / jobs);
  const vacuous = ((100 * totals.vacuous) / Math.max(1, totals.seeds)).toFixed(1);
  const lines = [
    `${profile}: ${totals.seeds} seeds in ${seconds.toFixed(1)} s (${perMinute} a minute), ${hours.toFixed(2)} cluster-hours, ${speed} × real time on each of ${jobs} threads`,
    `  events      ${totals.events}`,
    `  operations  ${totals.ok} ok, ${totals.failed} failed, ${totals.unknown} unknown`,
    `  faults      ${list(totals.faults)}`,
    `  rare paths  ${totals.probes.size} reached; least often: ${rarest(totals.probes)}`,
    `  run twice   ${totals.doubled} seeds, compared event by event`,
    `  vacuous     ${totals.vacuous} seeds (${vacuous} %)`,
  ];
  if (totals.failures.length === 0) lines.push('  every invariant held');
  else
    lines.push(
      `  ${totals.failures.length} seeds found something: ${totals.failures
        .map(({ seed }) => seed)
        .slice(0, NAMES_MAX)
        .join(' ')}`,
    );
  return lines;
}

/** A failure as a story: what, the shortest script that shows it, and how to see it again. */
export function describeFailure(
  found: SeedFailure,
  shrunk: Shrunk | undefined,
  campaign: {
    readonly profile: ProfileName;
    readonly broken: string | undefined;
    readonly omit: ReadonlySet<number>;
  },
): readonly string[] {
  const { seed, failure } = found;
  const { invariant, message, atMs, event, script } = shrunk?.failure ?? failure;
  const omit = shrunk?.omit ?? [...campaign.omit];
  const lines = [
    '',
    `Seed ${seed} violates ${invariant}`,
    `  ${message}`,
    `  at ${(atMs / 1000).toFixed(3)} s, event ${event}`,
  ];
  const of =
    shrunk === undefined ? '' : `, of ${failure.script.length} before ${shrunk.runs} attempts to shorten it`;
  lines.push(`Script (${script.length} disturbances${of}):`);
  for (const step of script) lines.push(`  ${(step.atMs / 1000).toFixed(3).padStart(9)} s  ${step.text}`);
  const options = [
    `--profile ${campaign.profile}`,
    ...(campaign.broken === undefined ? [] : [`--broken ${campaign.broken}`]),
    ...(omit.length === 0 ? [] : [`--omit ${omit.join(',')}`]),
  ];
  lines.push(`Again: oxide-kv sim --seed ${seed} ${options.join(' ')} --trace`);
  return lines;
}

/** Totals for programs. */
export function jsonTotals(totals: Totals): Readonly<Record<string, unknown>> {
  return {
    ran: totals.seeds,
    clusterHours: totals.simulatedMs / 3_600_000,
    events: totals.events,
    operations: { ok: totals.ok, failed: totals.failed, unknown: totals.unknown },
    faults: [...totals.faults],
    probes: [...totals.probes],
    doubled: totals.doubled,
    vacuous: totals.vacuous,
    failures: totals.failures,
  };
}

/** By name: threads end in any order, and two reports are compared line by line. */
function list(counts: ReadonlyMap<string, number>): string {
  return listed([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function listed(counts: readonly (readonly [name: string, count: number])[]): string {
  return counts.map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
}

function rarest(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].toSorted((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
  return listed(sorted.slice(0, 3));
}
