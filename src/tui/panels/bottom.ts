/** The last two lines: prompt, editor or toast; and the keys. The hint for help is never the one that is cut. */
import { unreachable } from '../../lib/assert.ts';
import { clip, display, fit, width } from '../text.ts';
import type { Look, Part } from '../look.ts';
import { partitionGroups } from '../key-actions.ts';
import type { Mode, State } from '../state.ts';

const HELP = '? help ';

/** The two lines, the first of `cells`, the second one cell shorter: writing the last cell makes some consoles scroll. */
export function bottomLines(options: {
  readonly state: Pick<State, 'mode' | 'toast' | 'nodeCount' | 'ascii' | 'selected' | 'workload'>;
  readonly cells: number;
  readonly look: Look;
}): readonly string[] {
  const { state, cells, look } = options;
  return [
    promptLine(options),
    look.spread(cells - 1, hintParts(state.mode, state, cells, look), [[HELP, 'bold']]),
  ];
}

function promptLine(options: Parameters<typeof bottomLines>[0]): string {
  const { state, cells, look } = options;
  const toast: readonly Part[] = state.toast === undefined ? [] : [[` ${state.toast.text} `, 'inverse']];
  const { mode } = state;
  if (mode.kind === 'prompt') return editorLine(mode, toast, options);
  if (mode.kind === 'partition') {
    const groups = partitionGroups(state.nodeCount, mode.apart).map(
      (group) => `{${group.map((id) => `n${id}`).join(' ')}}`,
    );
    return look.spread(cells, [[' partition ', 'bold'], groups.join(' | ')], toast);
  }
  return look.line(cells, ' ', ...toast);
}

function editorLine(
  mode: Extract<Mode, { readonly kind: 'prompt' }>,
  toast: readonly Part[],
  options: Parameters<typeof bottomLines>[0],
): string {
  const { cells, look } = options;
  const label = ` ${mode.for} ${look.glyphs.pointer} `;
  const shown = (characters: readonly string[]): string => display(characters.join(''), options.state.ascii);
  const before = shown(mode.text.slice(0, mode.cursor));
  const after = shown(mode.text.slice(mode.cursor));
  const room = cells - width(label) - 1;
  // The cursor stays in sight: what does not fit is cut at the left.
  const kept = width(before) <= room ? before : lastCells(before, room - 1, look.glyphs.ellipsis);
  const cursor: Part = after === '' ? [look.glyphs.cursor, 'bold'] : [Array.from(after)[0] ?? ' ', 'inverse'];
  const rest = after === '' ? '' : Array.from(after).slice(1).join('');
  return look.spread(cells, [[label, 'bold'], kept, cursor, rest], toast);
}

function lastCells(text: string, cells: number, ellipsis: string): string {
  let kept = '';
  for (const c of Array.from(text).toReversed()) {
    if (width(kept) + width(c) > cells) break;
    kept = c + kept;
  }
  return ellipsis + kept;
}

function hintParts(
  mode: Mode,
  state: Pick<State, 'selected' | 'workload'>,
  cells: number,
  look: Look,
): readonly Part[] {
  const hints = hintsFor(mode, state);
  let text = ' ';
  for (const hint of hints) {
    if (width(text) + hint.length + 2 > cells - 1 - HELP.length) break;
    text += `${hint}  `;
  }
  return [[fit(clip(text, cells, look.glyphs.ellipsis), width(text)), 'dim']];
}

function hintsFor(mode: Mode, state: Pick<State, 'selected' | 'workload'>): readonly string[] {
  switch (mode.kind) {
    case 'prompt':
      return mode.for === 'write'
        ? ['Enter send', 'Esc cancel', 'x 1', 'del x', 'cas x 1 2', 'Ctrl-U clear']
        : ['Enter send', 'Esc cancel', 'Ctrl-U clear'];
    case 'partition':
      return ['digits move a node across', 'Enter apply', 'Esc cancel'];
    case 'help':
      return ['Esc back', 'Ctrl-C quit'];
    case 'normal':
      return [
        'q quit',
        '1-9 node',
        `c crash n${state.selected}`,
        'r restart',
        'z freeze',
        'x cut off',
        'p partition',
        'h heal',
        'w write',
        'e read',
        `W load ${state.workload.isOn ? 'off' : 'on'}`,
        'Tab panel',
        'b all back',
        'f level',
      ];
    default:
      return unreachable(mode);
  }
}
