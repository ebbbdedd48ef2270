/** A pool of threads that runs jobs which need nothing but a processor: simulated seeds. */
import { Piscina } from 'piscina';

/** A job for the pool: plain data, answered with plain data. */
export interface CampaignPool<Job, Answer> {
  /** Rejects when the job throws or the pool is closed. */
  run(job: Job): Promise<Answer>;
  /** Ends every thread, also in the middle of a job. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a pool.
 *
 * @param worker name of an entry below workers/
 * @param threads how many jobs run at once
 */
export function openPool<Job, Answer>(worker: 'seeds', threads: number): CampaignPool<Job, Answer> {
  const pool = new Piscina<Job, Answer>({
    filename: import.meta.resolve(`#workers/${worker}`),
    minThreads: threads,
    maxThreads: threads,
    maxQueue: 2 * threads,
  });
  return {
    run: (job) => pool.run(job),
    close: () => pool.destroy(),
  };
}
