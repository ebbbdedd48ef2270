/** The limits on requests, checked: by nodes on what comes from outside, by clients before they send. */
import { unreachable } from '../lib/assert.ts';
import { LIMITS, type LeaderRequest } from './protocol.ts';

/** Which limit a request exceeds, in words; undefined for none. Senders ask too: a frame that breaks a limit is not read at all. */
export function limitExceeded(request: LeaderRequest): string | undefined {
  const { keyBytesMax, valueBytesMax, requestBytesMax, scanRowsMax } = LIMITS;
  switch (request.kind) {
    case 'get':
    case 'delete':
      return over('Key', request.key.length, keyBytesMax);
    case 'scan':
      if (!Number.isInteger(request.limit) || request.limit < 0 || request.limit > scanRowsMax)
        return `Limit is ${request.limit} rows, from 0 to ${scanRowsMax} are served`;
      return over('Prefix', request.prefix.length, keyBytesMax);
    case 'set':
      return (
        over('Key', request.key.length, keyBytesMax) ?? over('Value', request.value.length, valueBytesMax)
      );
    case 'cas':
      return (
        over('Key', request.key.length, keyBytesMax) ??
        over('Value', request.value.length, valueBytesMax) ??
        over('Expected value', request.expected?.length ?? 0, valueBytesMax) ??
        over(
          'Request',
          request.key.length + request.value.length + (request.expected?.length ?? 0),
          requestBytesMax,
        )
      );
    case 'changeMembers':
      if (request.changes.length > LIMITS.memberChangesMax)
        return `Request has ${request.changes.length} changes, the limit is ${LIMITS.memberChangesMax}`;
      return request.changes
        .map((change) => outOfRange(change.node) ?? longAddress('address' in change ? change.address : ''))
        .find((problem) => problem !== undefined);
    case 'transferLeader':
      return request.to === 0 ? undefined : outOfRange(request.to);
    case 'operation':
      return over('Operation', request.operation.length, requestBytesMax);
    case 'query':
      return over('Query', request.query.length, requestBytesMax);
    case 'openSession':
      return undefined;
    default:
      return unreachable(request);
  }
}

function over(what: string, bytes: number, max: number): string | undefined {
  return bytes > max ? `${what} has ${bytes} bytes, the limit is ${max}` : undefined;
}

function outOfRange(node: number): string | undefined {
  if (Number.isInteger(node) && node >= 1 && node <= LIMITS.nodeIdMax) return undefined;
  return `Node id is ${node}, ids are 1 to ${LIMITS.nodeIdMax}`;
}

function longAddress(address: string): string | undefined {
  const { addressCharsMax } = LIMITS;
  if (address.length <= addressCharsMax) return undefined;
  return `Address has ${address.length} characters, the limit is ${addressCharsMax}`;
}
