/** How the files of a tree are called: all lie in one directory, and each kind is known by its name. */

/** What to do about a damaged tree. */
export const LSM_REMEDY =
  'restore the data directory from a copy, or remove this node from the cluster and add it again under a new id';

/** A manifest. */
export function manifestName(number: number): string {
  return `MANIFEST-${padded(number)}`;
}

/** The file with the part of a checkpoint that is not versions. That of a table is `tablePath`. */
export function statePath(directory: string, number: number): string {
  return `${directory}/${padded(number)}.state`;
}

/** The number in the name of a table or state file; undefined for a file of another kind. */
export function numberedFile(name: string): number | undefined {
  const digits = /^(\d{6,})\.(?:sst|state)$/.exec(name)?.[1];
  const number = Number(digits);
  return digits !== undefined && padded(number) === digits ? number : undefined;
}

/** Whether a file is a manifest, in force or not. */
export function isManifest(name: string): boolean {
  return /^MANIFEST-\d{6,}$/.test(name);
}

function padded(number: number): string {
  return String(number).padStart(6, '0');
}
