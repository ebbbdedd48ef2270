/** The keys of a store as they are at one revision, a page at a time, however much is written meanwhile. */
import { latin1, prefixEnd } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import { decodeQueryResult } from '../kv/result-codec.ts';
import { encodeQuery } from '../kv/operation-codec.ts';
import type { KeyValue, Query, QueryResult } from '../kv/operation.ts';
import type { StoreClient } from './store.ts';

/** Some rows, in key order. */
export interface StorePage {
  /** The same for all pages of one reading. */
  readonly revision: number;
  readonly rows: readonly KeyValue[];
}

/**
 * Reads all keys with a prefix, at the revision that is the newest when the first page is read. One page at least.
 *
 * @throws OxideError `unavailable` when the store gave up the history of that revision meanwhile
 */
export async function* readPages(client: StoreClient, prefix: Uint8Array): AsyncGenerator<StorePage, void> {
  const first = latin1(prefix);
  const end = prefixEnd(first);
  let start = first;
  let revision = 0;
  for (;;) {
    // oxlint-disable-next-line no-await-in-loop -- each page begins where the one before ended
    const result = await ask(client, { kind: 'page', range: { start, end }, revision });
    if (result.kind !== 'page') throw refusal(result);
    if (revision === 0) revision = result.revision;
    yield { revision, rows: result.rows };
    const last = result.rows.at(-1);
    if (!result.more || last === undefined) return;
    start = `${last.key}\0`;
  }
}

/** Asks the state machine. */
export async function ask(client: StoreClient, query: Query): Promise<QueryResult> {
  return decodeQueryResult(await client.query(encodeQuery(query)));
}

/** What a result that was not asked for means. */
export function refusal(result: QueryResult): OxideError {
  if (result.kind !== 'refused')
    return new OxideError('unknown', `Cannot read keys: the answer is of kind "${result.kind}"`);
  const why =
    result.reason === 'compacted'
      ? `history before revision ${result.compactedRevision} was let go meanwhile; a larger --history-revisions of the nodes keeps more`
      : `the store says ${result.reason}`;
  return new OxideError('unavailable', `Cannot read keys: ${why}`);
}
