/** The last two lines: prompt, editor or toast; and the keys. The hint for help is never the one that is cut. */
import { unreachable } from '../../lib/assert.ts';
import { clip, display, fit, width } from '../text.ts';
import { partsWidth, type Look, type Part } from '../look.ts';
import { changeText } from '../changes.ts';
import { partitionGroups } from '../key-actions.ts';
import { questionOf } from '../member-keys.ts';
import type { Mode, State } from '../state.ts';

const HELP = '? help ';

type BottomState = Pick<
  State,
  'mode' | 'toast' | 'nodeCount' | 'view' | 'ascii' | 'selected' | 'workload' | 'underWay'
>;

/** The two lines, the first of `cells`, the second one cell shorter: writing the last cell makes some consoles scroll. */
export function bottomLines(options: {
  readonly state: BottomState;
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
    const groups = partitionGroups(state, mode.apart).map(
      (group) => `{${group.map((id) => `n${id}`).join(' ')}}`,
    );
    return look.spread(cells, [[' partition ', 'bold'], groups.join(' | ')], toast);
  }
  if (mode.kind === 'confirm')
    return look.spread(cells, [' ', [` ${questionOf(mode.change)} `, 'inverse'], '  y/n'], toast);
  const underWay = state.underWay.map(changeText).join(', ');
  const busy: readonly Part[] =
    underWay === '' ? [] : [[`under way: ${underWay}${look.glyphs.ellipsis} `, 'accent']];
  // What went wrong is read first; what is under way is there for longer.
  const hasRoom = partsWidth(toast) + partsWidth(busy) + 2 <= cells;
  return look.spread(cells, [' ', ...toast], hasRoom ? busy : []);
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

function hintParts(mode: Mode, state: BottomState, cells: number, look: Look): readonly Part[] {
  const hints = hintsFor(mode, state);
  let text = ' ';
  for (const hint of hints) {
    if (width(text) + hint.length + 2 > cells - 1 - HELP.length) break;
    text += `${hint}  `;
  }
  return [[fit(clip(text, cells, look.glyphs.ellipsis), width(text)), 'dim']];
}

function hintsFor(mode: Mode, state: BottomState): readonly string[] {
  switch (mode.kind) {
    case 'prompt':
      return mode.for === 'write'
        ? ['Enter send', 'Esc cancel', 'x 1', 'del x', 'cas x 1 2', 'Ctrl-U clear']
        : ['Enter send', 'Esc cancel', 'Ctrl-U clear'];
    case 'partition':
      return ['digits move a node across', 'Enter apply', 'Esc cancel'];
    case 'confirm':
      return ['y yes', 'n no', 'Esc cancel'];
    case 'help':
      return ['Esc back', 'Ctrl-C quit'];
    case 'normal':
      return [
        'q quit',
        '1-9 node',
        ...nodeHints(state),
        'p partition',
        'h heal',
        'w write',
        'e read',
        `W load ${state.workload.isOn ? 'off' : 'on'}`,
        'a add',
        'D remove',
        't lead',
        'Tab panel',
        's storage',
        'b all back',
        'f level',
      ];
    default:
      return unreachable(mode);
  }
}

/** What can be done to the selected node as it is. */
function nodeHints({ view, selected }: BottomState): readonly string[] {
  const life = view?.nodes.find(({ id }) => id === selected)?.state;
  switch (life) {
    case 'crashed':
    case 'stopped':
      return [`r restart n${selected}`, 'R replace'];
    case 'frozen':
      return [`z thaw n${selected}`, 'c crash', 'x cut off'];
    case 'running':
    case 'starting':
    case undefined:
      return [`c crash n${selected}`, 'z freeze', 'x cut off'];
    default:
      return unreachable(life);
  }
}
