/**
 * Votes and leaders of one run, counted apart from the core: one vote of a node a term (I2), one leader a term, elected by a
 * majority (I1).
 */
import type { NodeId, Term } from '../raft/entry.ts';
import { type Members, isQuorum } from './config-audit.ts';
import { fail } from './violation.ts';

/** Terms whose votes and leaders are remembered. */
const TERMS_MAX = 4096;

/** Who votes. A node whose directory is gone remembers no vote, and is another voter from then on. */
export interface Voter {
  readonly id: NodeId;
  readonly directory: number;
}

interface Vote extends Voter {
  readonly candidate: NodeId;
}

export class Elections {
  readonly #votes: Map<Term, Vote[]> = new Map();
  /** Who leads each term, and in which life. */
  readonly #leaders: Map<Term, string> = new Map();

  /** A vote was cast; candidates vote for themselves. */
  voted({ id, directory }: Voter, term: Term, candidate: NodeId): void {
    const votes = this.#votes.get(term) ?? [];
    if (votes.length === 0) this.#votes.set(term, votes);
    const known = votes.find((vote) => vote.id === id && vote.directory === directory);
    if (known === undefined) votes.push({ id, directory, candidate });
    else if (known.candidate !== candidate)
      fail('I2 one vote a term', `n${id} votes for n${known.candidate} and n${candidate} in term ${term}`);
    if (this.#votes.size > TERMS_MAX) forgetFirst(this.#votes);
  }

  /** A node leads. @param configs of which one decided: it may have changed in the same turn */
  won(
    { id, life }: { readonly id: NodeId; readonly life: number },
    term: Term,
    configs: readonly Members[],
  ): void {
    const who = `n${id}, life ${life}`;
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== who)
      fail('I1 election safety', `term ${term} is led by ${other} and by ${who}`);
    this.#leaders.set(term, who);
    if (this.#leaders.size > TERMS_MAX) forgetFirst(this.#leaders);
    const voters = new Set<NodeId>();
    for (const vote of this.#votes.get(term) ?? []) if (vote.candidate === id) voters.add(vote.id);
    if (configs.some((config) => isQuorum(config, voters))) return;
    fail('I1 election safety', `n${id} leads term ${term} with the votes of ${namesOf(voters)}`);
  }
}

/** `n1 n2`, or `nobody`. */
export function namesOf(nodes: ReadonlySet<NodeId>): string {
  return [...nodes].map((id) => `n${id}`).join(' ') || 'nobody';
}

function forgetFirst(map: Map<Term, unknown>): void {
  for (const term of map.keys()) {
    map.delete(term);
    return;
  }
}
