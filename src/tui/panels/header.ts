/** The first lines: which cluster, what time, who leads, whether there is a majority, where clients connect. */
import { partsWidth, type Look, type Part } from '../look.ts';
import type { ScreenView } from '../model.ts';
import { duration, isDivided, majoritiesOf, nodeName, type Majority } from './format.ts';

/** `rows` lines of `cells`: the state of the whole cluster, then the addresses of its nodes. */
export function headerLines(options: {
  readonly view: ScreenView | undefined;
  readonly nodeCount: number;
  readonly cells: number;
  readonly rows: number;
  readonly look: Look;
}): readonly string[] {
  const { view, cells, look } = options;
  const count = `${options.nodeCount} ${options.nodeCount === 1 ? 'node' : 'nodes'}`;
  const name: Part[] = [' ', ['OXIDE-KV', 'bold'], ' '];
  if (view === undefined) {
    const first = look.spread(cells, [...name, ` ${count}`], ['starting ']);
    return [first, ...Array.from({ length: options.rows - 1 }, () => look.line(cells))];
  }
  const facts = factsOf(view, count, look);
  // The least important goes first where there is no room.
  for (const least of ['count', 'up', 'learners', 'running', 'live', 'links'] as const) {
    if (partsWidth(facts.flatMap((fact) => fact.parts)) + 10 <= cells) break;
    const place = facts.findIndex((fact) => fact.name === least);
    if (place !== -1) facts.splice(place, 1);
  }
  const left = facts.filter((fact) => fact.name === 'count').flatMap((fact) => fact.parts);
  const right = facts.filter((fact) => fact.name !== 'count').flatMap((fact) => fact.parts);
  const lines = [look.spread(cells, [...name, ...left], right)];
  if (options.rows > 1) lines.push(look.line(cells, [` ${endpoints(view)}`, 'dim']));
  return lines;
}

interface Fact {
  readonly name: 'count' | 'links' | 'live' | 'up' | 'term' | 'leader' | 'quorum' | 'running' | 'learners';
  readonly parts: readonly Part[];
}

function factsOf(view: ScreenView, count: string, look: Look): Fact[] {
  const majorities = majoritiesOf(view.nodes);
  const hasQuorum = majorities.every(({ upCount, needed }) => upCount >= needed);
  const both = (text: (majority: Majority) => string): string => majorities.map(text).join(' and ');
  const facts: Fact[] = [{ name: 'count', parts: [` ${count}  `] }];
  if (isDivided(view.nodes)) facts.push({ name: 'links', parts: [['LINKS CUT', 'warn'], '  '] });
  facts.push(
    { name: 'live', parts: [[`${look.glyphs.live} LIVE`, 'good'], '  '] },
    { name: 'up', parts: [`up ${duration(view.atMs)}  `] },
    { name: 'term', parts: [`term ${view.term}  `] },
    {
      name: 'leader',
      parts: ['leader ', view.leader === 0 ? ['none', 'bad'] : [nodeName(view.leader), 'bold'], '  '],
    },
    hasQuorum
      ? { name: 'quorum', parts: [`quorum ${both(({ needed, voterCount }) => `${needed}/${voterCount}`)}`] }
      : { name: 'quorum', parts: [['NO QUORUM', 'bad']] },
    {
      name: 'running',
      parts: [
        hasQuorum
          ? `, ${votersUp(view)} up`
          : `: ${both(({ upCount, needed }) => `${upCount} up, ${needed} needed`)}`,
      ],
    },
  );
  const learners = view.nodes.filter(({ standing }) => standing === 'learner' || standing === 'promoting');
  if (learners.length > 0)
    facts.push({
      name: 'learners',
      parts: [`, ${learners.length} ${learners.length === 1 ? 'learner' : 'learners'}`],
    });
  facts.push({ name: 'term', parts: [' '] });
  return facts;
}

function votersUp(view: ScreenView): number {
  const voting = new Set(['voter', 'witness', 'joining', 'leaving']);
  return view.nodes.filter(({ standing, state }) => voting.has(standing) && state === 'running').length;
}

function endpoints(view: ScreenView): string {
  const open = view.nodes.filter((node) => node.client !== '');
  if (open.length === 0) return 'no doors open: clients connect from within this process only';
  return `clients connect to  ${open.map((node) => `n${node.id} ${node.client}`).join('   ')}`;
}
