/** Whether another process still runs: for lock files, which must survive a kill and yet not block the next start. */
import { readFileSync } from 'node:fs';
import type { LockOwner } from '../storage/data-directory.ts';

/**
 * When this process started, in clock ticks since boot where /proc tells (Linux); else in milliseconds of the wall
 * clock. Threads of one process agree on it only through their supervisor.
 */
export function processStartedAt(): number {
  return startTicks(process.pid) ?? Math.round(Date.now() - process.uptime() * 1000);
}

/** Whether the process that took a lock still runs. A pid that now belongs to a younger process does not count. */
export function isProcessAlive(holder: LockOwner): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    // EPERM: it runs, as somebody else's.
    if (!(error instanceof Error) || !('code' in error) || error.code !== 'EPERM') return false;
  }
  const ticks = startTicks(holder.pid);
  return ticks === undefined || ticks === holder.startedAt;
}

function startTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 22, counted behind the command name, which may hold spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[19]);
    return Number.isSafeInteger(ticks) ? ticks : undefined;
  } catch {
    return undefined;
  }
}
