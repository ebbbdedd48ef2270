/** Requests in the terms of the state machine: what a write is in the log, how a read is answered, what a result is to a client. */
import { unreachable } from '../lib/assert.ts';
import { fromLatin1, latin1 } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import { encodeCommand } from '../kv/command-codec.ts';
import type { OperationAnswer, Result } from '../kv/command.ts';
import { decodeOperation, decodeQuery } from '../kv/operation-codec.ts';
import { encodeOperationResult, encodeQueryResult } from '../kv/result-codec.ts';
import type { StateMachine } from '../kv/state-machine.ts';
import { LIMITS, type ReadRequest, type Reply, type WriteRequest } from '../net/protocol.ts';

/**
 * The payload of a write's entry.
 *
 * @throws OxideError `bad_request` for bytes that are no operation
 */
export function payloadOf(request: WriteRequest): Uint8Array {
  switch (request.kind) {
    case 'set':
    case 'delete':
    case 'cas':
      return encodeCommand({ ...request, key: latin1(request.key) });
    case 'operation': {
      const { kind, session } = request;
      const operation = decodeOperation(request.operation);
      return encodeCommand(session === undefined ? { kind, operation } : { kind, operation, session });
    }
    case 'openSession':
      return encodeCommand(request);
    default:
      return unreachable(request);
  }
}

/** Answers a read from what the machine holds now. */
export function readFrom(machine: StateMachine, request: ReadRequest): Reply {
  switch (request.kind) {
    case 'get':
      return { kind: 'value', value: machine.get(latin1(request.key)) };
    case 'scan': {
      const page = machine.scan(latin1(request.prefix), request.limit, LIMITS.scanBytesMax);
      const rows = page.rows.map((row) => ({ key: fromLatin1(row.key), value: row.value }));
      return { kind: 'rows', rows, more: page.more };
    }
    case 'query':
      return replyOr(() => {
        const result = encodeQueryResult(machine.query(decodeQuery(request.query)));
        return { kind: 'result', index: machine.applied, result };
      });
    default:
      return unreachable(request);
  }
}

/** What a client is told of a result. */
export function replyTo(result: Result | OperationAnswer): Reply {
  switch (result.kind) {
    case 'ok':
    case 'mismatch':
    case 'session':
      return result;
    case 'operation':
      return { kind: 'result', index: result.index, result: encodeOperationResult(result.result) };
    case 'sessionExpired':
      return {
        kind: 'error',
        code: 'session_expired',
        message: `Session ${result.id} is not open: the write was not applied`,
      };
    case 'sessionRefused':
      return {
        kind: 'error',
        code: 'bad_request',
        message: `Session ${result.id} refuses the write: ${result.why}`,
      };
    default:
      return unreachable(result);
  }
}

/** What `run` gives, or the refusal of what cannot be read. */
export function replyOr<T>(run: () => T): T | Extract<Reply, { readonly kind: 'error' }> {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof OxideError)) throw error;
    return { kind: 'error', code: error.code, message: error.message };
  }
}
