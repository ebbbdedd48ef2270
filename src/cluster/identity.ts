/** Which cluster a data directory belongs to: a name drawn once, which its nodes ask of each other. */
import { readIdentity } from '../storage/data-directory.ts';
import { readTextFile, replaceFile } from '../storage/files.ts';
import { NodeFileSystem } from '../storage/fs.ts';
import { utf8 } from '../lib/bytes.ts';
import { CorruptionError, StorageError } from '../lib/errors.ts';

const NAME = 'cluster.json';
const FORMAT = 1;

/**
 * Reads or creates `cluster.json` in `dataDir`, which is created if need be. Durable on return.
 *
 * @returns the cluster's name
 * @throws StorageError when the directory holds a cluster of another size or a newer format, CorruptionError when the file cannot be read
 */
export function clusterIdentity(dataDir: string, nodeCount: number): string {
  const fs = new NodeFileSystem();
  fs.makeDirectory(dataDir);
  const path = `${dataDir}/${NAME}`;
  if (!fs.exists(path)) {
    const name = crypto.randomUUID();
    const leftover = fs.list(dataDir).find((entry) => readIdentityQuietly(fs, `${dataDir}/${entry}`));
    if (leftover !== undefined)
      throw new CorruptionError(`Cannot open "${dataDir}": it holds ${leftover} but no ${NAME}`);
    replaceFile(fs, dataDir, NAME, [
      utf8(`${JSON.stringify({ format: FORMAT, cluster: name, nodes: nodeCount })}\n`),
    ]);
    return name;
  }
  const found = parse(readTextFile(fs, path));
  if (found === undefined) throw new CorruptionError(`Cannot read "${path}": it does not describe a cluster`);
  if (found.format > FORMAT)
    throw new StorageError(
      `Cannot open "${dataDir}": its format ${found.format} is newer than ${FORMAT}, which this version knows`,
    );
  if (found.nodes !== nodeCount) {
    throw new StorageError(
      `Cannot open "${dataDir}": it holds a cluster of ${found.nodes} nodes, not ${nodeCount}`,
    );
  }
  return found.cluster;
}

function readIdentityQuietly(fs: NodeFileSystem, path: string): boolean {
  try {
    return readIdentity(fs, path) !== undefined;
  } catch {
    return false;
  }
}

function parse(
  text: string,
): { readonly format: number; readonly cluster: string; readonly nodes: number } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    if (!('format' in value) || !('cluster' in value) || !('nodes' in value)) return undefined;
    const { format, cluster, nodes } = value;
    if (typeof format !== 'number' || typeof cluster !== 'string' || typeof nodes !== 'number')
      return undefined;
    return { format, cluster, nodes };
  } catch {
    return undefined;
  }
}
