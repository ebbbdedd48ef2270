/** Addresses of nodes, `host:port`, as they stand in the log and on the command line. */

/** An IPv6 host is held without its brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Splits `host:port`; an IPv6 host stands in brackets. @returns undefined for anything else */
export function addressOf(text: string): Address | undefined {
  const match = /^(?:\[([^\]\s]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host !== undefined && port >= 0 && port <= 65_535 ? { host, port } : undefined;
}

/** The text that {@link addressOf} reads. */
export function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
