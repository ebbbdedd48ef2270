/**
 * The language of the JSON-lines door, from a line to a request; json-replies.ts is the way back. Knows nothing of sockets.
 *
 *   {"Set":{"key":"a","value":"1"}}                        {"status":"ok","index":7}
 *   {"Get":{"key":"a"}}                                    {"status":"ok","data":"1"} | {"status":"not_found"}
 *   {"Delete":{"key":"a"}}                                 {"status":"ok","index":8,"existed":true}
 *   {"Scan":{"prefix":"a","limit":10}}                     {"status":"ok","data":[{"key":"a","value":"1"}],"more":false}
 *   {"Cas":{"key":"a","expected":"1"|null,"value":"2"}}    {"status":"ok","index":9} |
 *                                                          {"status":"error","code":"compare_failed","message":"…","actual":"3"|null}
 *   "OpenSession" | {"OpenSession":{}}                     {"status":"ok","session":17}
 *   {"Query":{"query":"<base64>"}}                         {"status":"ok","index":9,"result":"<base64>"}
 *   {"Operation":{"operation":"<base64>"}}                 {"status":"ok","index":10,"result":"<base64>"}
 *   "Status" | {"Status":{}}                               {"status":"ok","data":{"raft":{"id":1,…},"data_bytes":42,…}}
 *
 *   {"AddNode":{"server":{"node_id":"4","addr":"127.0.0.1:8004"}}}    {"status":"ok","index":10}, "learner":true: it stays one
 *                                                                     "witness":true in the server: it keeps no data
 *   {"PromoteNode":{"node_id":"4"}}                        {"status":"ok","index":12}
 *   {"RemoveNode":{"node_id":"4"}}                         {"status":"ok","index":14}
 *   "TransferLeader" | {"TransferLeader":{"node_id":"2"}}  {"status":"ok","leader":2}
 *   "Compact" | {"Compact":{}}                             {"status":"ok","index":14}
 *
 * Names on the wire are snake_case. `"session":{"id":17,"seq":3,"acked_below":2}` in Set, Delete, Cas and Operation makes a
 * retry harmless. A Query or an Operation is what kv/operation-codec.ts lays out, and so is its result. `"encoding":"base64"` in a body makes its key, prefix, value and expected base64, and the reply's data
 * too; without it, data that is not UTF-8 comes back as base64. A reply with base64 in it says `"encoding":"base64"`.
 */
import { textOf } from '../lib/bytes.ts';
import { OxideError } from '../lib/errors.ts';
import type { Request } from '../net/protocol.ts';
import { Body, refuse } from './json-body.ts';
import { parseJson, quoted } from './json-parser.ts';
import type { JsonValue } from './json-parser.ts';

/** A request and how its reply is to be written. */
export interface DecodedRequest {
  readonly request: Request;
  /** Write the reply's data as base64 even if it is UTF-8. */
  readonly base64: boolean;
}

const FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['Set', ['key', 'value', 'session', 'encoding']],
  ['Get', ['key', 'encoding']],
  ['Delete', ['key', 'session', 'encoding']],
  ['Scan', ['prefix', 'limit', 'encoding']],
  ['Cas', ['key', 'expected', 'value', 'session', 'encoding']],
  ['Query', ['query']],
  ['Operation', ['operation', 'session']],
  ['OpenSession', []],
  ['Status', []],
  ['AddNode', ['server', 'learner']],
  ['PromoteNode', ['node_id']],
  ['RemoveNode', ['node_id']],
  ['TransferLeader', ['node_id']],
  ['Compact', []],
]);

/**
 * Reads a request. The bytes in it are its own.
 *
 * @param line without its end
 * @throws OxideError `bad_request` when it is malformed: the sender does not speak this language, and what follows is
 * not to be trusted; `too_large` when it is well-formed and over a limit
 */
export function decodeRequest(line: Uint8Array): DecodedRequest {
  const text = textOf(line);
  if (text === undefined) throw new OxideError('bad_request', 'Cannot read request: it is not UTF-8');
  const { operation, members } = tagged(parseJson(text));
  const body = new Body(operation, members, FIELDS.get(operation));
  return { request: requestOf(body), base64: body.base64 };
}

function requestOf(body: Body): Request {
  switch (body.operation) {
    case 'Set':
      return { kind: 'set', key: body.key('key'), value: body.value('value'), ...body.session() };
    case 'Get':
      return { kind: 'get', key: body.key('key') };
    case 'Delete':
      return { kind: 'delete', key: body.key('key'), ...body.session() };
    case 'Scan':
      return { kind: 'scan', prefix: body.key('prefix'), limit: body.limit() };
    case 'Cas':
      return {
        kind: 'cas',
        key: body.key('key'),
        expected: body.isNull('expected') ? undefined : body.value('expected'),
        value: body.value('value'),
        ...body.session(),
      };
    case 'Query':
      return { kind: 'query', query: body.binary('query') };
    case 'Operation':
      return { kind: 'operation', operation: body.binary('operation'), ...body.session() };
    case 'OpenSession':
      return { kind: 'openSession' };
    case 'Status':
      return { kind: 'status' };
    case 'AddNode': {
      const { witness, ...server } = body.server('server');
      const isLearner = body.flag('learner');
      if (isLearner && witness) return refuse('a witness is no learner');
      const kind = isLearner ? 'addLearner' : 'add';
      return { kind: 'changeMembers', changes: [{ kind: witness ? 'addWitness' : kind, ...server }] };
    }
    case 'PromoteNode':
      return { kind: 'changeMembers', changes: [{ kind: 'promote', node: body.node('node_id') }] };
    case 'RemoveNode':
      return { kind: 'changeMembers', changes: [{ kind: 'remove', node: body.node('node_id') }] };
    case 'TransferLeader':
      return { kind: 'transferLeader', to: body.nodeIfAny('node_id') };
    case 'Compact':
      return { kind: 'compact' };
    default:
      return refuse(
        `unknown operation ${quoted(body.operation)}, known are ${[...FIELDS.keys()].join(', ')}`,
      );
  }
}

/** Takes the external tag off: `{"Get":{…}}`, or `"Status"` for an operation without fields. */
function tagged(value: JsonValue): { operation: string; members: ReadonlyMap<string, JsonValue> } {
  if (typeof value === 'string') return { operation: value, members: new Map() };
  if (!(value instanceof Map)) return refuse('an object with one operation expected');
  const [first, ...others] = [...value];
  if (first === undefined || others.length > 0) {
    return refuse(`one operation expected, found ${value.size}`);
  }
  const [operation, members] = first;
  if (!(members instanceof Map)) return refuse(`the body of ${quoted(operation)} must be an object`);
  return { operation, members };
}
