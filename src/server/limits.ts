/** What a JSON-lines door grants to one client and to all of them. */
import { LIMITS } from '../net/protocol.ts';

/** Every bound of a door. Times are in milliseconds of a clock that stands still while the thread does. */
export interface DoorLimits {
  /** Connections served at once; a further one gets an `overloaded` line and is closed. */
  readonly connectionsMax: number;
  /** Connections served at once for one other machine, so that none shuts out the rest. This machine may have them all. */
  readonly connectionsPerAddressMax: number;
  /** Refused connections that still wait for their client to read the reason; further ones are reset. */
  readonly refusedMax: number;
  /** Requests of one connection without an answer; beyond, its socket is not read. */
  readonly inFlightMax: number;
  readonly lineBytesMax: number;
  /** Answers of one connection that wait for the client to read; beyond, its socket is not read. */
  readonly writeBufferBytesMax: number;
  /** How long a client may leave one write (at most 256 KiB) unread before its connection is reset. */
  readonly writeStallMs: number;
  /** How long a connection may be silent with nothing in flight. */
  readonly idleMs: number;
  /** How long a begun line may take to end. */
  readonly lineMs: number;
  /** How long a closed connection may take to read its last answer. */
  readonly lingerMs: number;
}

/** Bounds for a door that strangers may reach. */
export const DOOR_LIMITS: DoorLimits = {
  connectionsMax: 1024,
  connectionsPerAddressMax: 64,
  refusedMax: 64,
  inFlightMax: 128,
  lineBytesMax: LIMITS.requestBytesMax,
  writeBufferBytesMax: 8_388_608,
  writeStallMs: 30_000,
  idleMs: 300_000,
  lineMs: 10_000,
  lingerMs: 1_000,
};
