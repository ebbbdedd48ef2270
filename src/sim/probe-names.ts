/** The rare paths of Raft that a campaign wants to have seen, by the names under which they are counted. */
export const PROBES = ['two leaders at once'] as const;

export type ProbeName = (typeof PROBES)[number];
