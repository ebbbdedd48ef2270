/** What is said of a file of a later format: what was found, what is known, and what to do. */

/**
 * `its format is 3, this program reads up to 2; start a later version of it`: the state of a file, behind the action that
 * failed. Nothing is wrong with the file.
 */
export function laterFormat(found: number, known: number): string {
  return `its format is ${found}, this program reads up to ${known}; start a later version of it`;
}
