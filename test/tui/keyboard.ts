/** A reducer with keys typed at it and a fake cluster to look at. */
import { update } from '../../src/tui/key-actions.ts';
import { KeyDecoder } from '../../src/tui/keys.ts';
import { initialState, type Effect, type State } from '../../src/tui/state.ts';
import { FakeCluster } from './fake-cluster.ts';

/** Keys come a second apart. Effects are kept, and carried out by nobody. */
export class Keyboard {
  state: State;
  effects: Effect[] = [];
  nowMs = 0;
  readonly cluster: FakeCluster;
  readonly #decoder = new KeyDecoder();

  constructor(nodeCount = 5, size: State['size'] = { columns: 120, rows: 40 }) {
    this.cluster = new FakeCluster(nodeCount);
    this.state = initialState({ size, nodeCount, ascii: false });
  }

  ready(): this {
    this.see();
    this.act({ kind: 'ready' });
    return this;
  }

  /** Shows the cluster as it is now. */
  see(): void {
    this.act({ kind: 'view', view: this.cluster.view(), nowMs: this.nowMs });
  }

  act(action: Parameters<typeof update>[1]): void {
    const next = update(this.state, action);
    this.state = next.state;
    this.effects.push(...next.effects);
  }

  /** @returns the effects of these keys */
  type(text: string, gapMs = 1000): readonly Effect[] {
    const before = this.effects.length;
    const bytes = new TextEncoder().encode(text);
    for (const key of [...this.#decoder.push(bytes), ...this.#decoder.flush()]) {
      this.nowMs += gapMs;
      this.act({ kind: 'key', key, nowMs: this.nowMs });
    }
    return this.effects.slice(before);
  }

  get toast(): string | undefined {
    return this.state.toast?.text;
  }

  get said(): readonly string[] {
    return this.state.events.filter((event) => event.level === 0).map((event) => event.text);
  }
}
