/** Rare paths that nodes tell of in words: one table of what an event must say for a probe to be hit. */
import type { NodeEvent } from '../node/status.ts';
import type { Hit, ProbeName } from './probe-names.ts';

interface Sign {
  /** Every one of these must be in the text. */
  readonly texts: readonly string[];
  readonly probe: ProbeName;
}

/** By the kind of event. */
const SIGNS: ReadonlyMap<string, readonly Sign[]> = new Map([
  [
    'role',
    [
      { texts: ['candidate ⇒ follower', ' leads term '], probe: 'candidate gave way' },
      { texts: ['a majority refused term'], probe: 'candidate refused by a majority' },
      { texts: ['leader ⇒', 'no answer from a majority'], probe: 'leader stepped down without a majority' },
      { texts: ['leader ⇒', ' is in term '], probe: 'leader met a later term' },
      { texts: ['leader ⇒', 'no longer a member'], probe: 'leader left its cluster' },
    ],
  ],
  [
    'vote',
    [
      { texts: ['refuses', 'already voted for'], probe: 'vote refused in a spent term' },
      { texts: ['refuses', 'log older'], probe: 'vote refused to an older log' },
      {
        texts: ['refuses', 'pre-vote', 'heard from the leader'],
        probe: 'pre-vote refused for a live leader',
      },
    ],
  ],
  ['reject', [{ texts: [], probe: 'entries rejected' }]],
  [
    'snapshot',
    [
      { texts: ['saves a snapshot'], probe: 'snapshot saved' },
      { texts: ['sends n'], probe: 'snapshot sent' },
      { texts: ['the log was too far behind'], probe: 'snapshot installed' },
      { texts: ['the log agrees with it'], probe: 'snapshot agreed with the log' },
    ],
  ],
  [
    'storage',
    [
      { texts: ['stops voting'], probe: 'storage failed' },
      { texts: ['starts again without'], probe: 'damage found by a running node' },
    ],
  ],
  [
    'disk',
    [
      { texts: ['disk is full'], probe: 'disk full' },
      { texts: ['has room again'], probe: 'disk had room again' },
      { texts: ['gives up'], probe: 'snapshot given up on a full disk' },
    ],
  ],
  [
    'recover',
    [
      { texts: ['an unfinished write'], probe: 'torn tail cut' },
      { texts: ['cut before damage'], probe: 'log cut before damage' },
      { texts: ['damaged-data'], probe: 'damaged data set aside' },
    ],
  ],
  ['whole', [{ texts: [], probe: 'voted again after a loss' }]],
  ['config', [{ texts: ['is in effect again'], probe: 'configuration taken back' }]],
  ['stall', [{ texts: [], probe: 'disk too slow to lead' }]],
]);

/** Hits what this event is a sign of. */
export function readEvent({ kind, text }: NodeEvent, hit: Hit): void {
  for (const { texts, probe } of SIGNS.get(kind) ?? [])
    if (texts.every((part) => text.includes(part))) hit(probe);
}
