import { describe, expect, it } from 'vitest';
import { FrameSink } from '../../src/tui/frame-sink.ts';
import { emulate, feed, Recorder, screenOf } from './harness.ts';

const SIZE = { columns: 20, rows: 5 };

function sinkWith(size = SIZE): { readonly sink: FrameSink; readonly out: Recorder } {
  const out = new Recorder();
  return { sink: new FrameSink(out, size), out };
}

describe('FrameSink.write()', () => {
  it('sends changed cells only, each run at its own place, in one synchronized update', () => {
    const { sink, out } = sinkWith();
    sink.write('one\ntwo\nthree');
    expect(out.writes).toHaveLength(1);
    sink.write('one\nTWO\nthree');
    expect(out.writes[1]).toBe('\u001b[?2026h\u001b[2;1HTWO\u001b[?2026l');
    sink.write('one\nTwO\n\u001b[7mth\u001b[27mr');
    expect(out.writes[2]).toBe(
      '\u001b[?2026h\u001b[2;2Hw\u001b[3;1H\u001b[7mth\u001b[m\u001b[?2026l'.replace(
        '\u001b[m',
        '\u001b[mr\u001b[K',
      ),
    );
    expect(sink.writtenBytes).toBe(Buffer.byteLength(out.text));
  });

  it('sends nothing when nothing changed', () => {
    const { sink, out } = sinkWith();
    sink.write('same');
    sink.write('same');
    sink.write('same\n');
    expect(out.writes).toHaveLength(1);
  });

  it('shows exactly the frame, full lines and colours included, and never scrolls', async () => {
    const { sink, out } = sinkWith();
    const terminal = await emulate(SIZE, '\u001b[?7l');
    const frames = [
      `${'#'.repeat(20)}\nx\n${'漢'.repeat(10)}\n\u001b[31m${'y'.repeat(20)}\u001b[39m\n${'z'.repeat(19)}`,
      `short\n${'#'.repeat(20)}\n漢\n\u001b[30;48;5;214m[4]\u001b[0m tail\n`,
      `a\nb\nc\nd\ne\nbeyond the screen`,
    ];
    for (const frame of frames) {
      const before = out.writes.length;
      sink.write(frame);
      await feed(terminal, out.writes.slice(before).join(''));
      // oxlint-disable-next-line no-control-regex -- ESC is what starts one
      const text = frame.replace(/\u001b\[[0-9;]*m/g, '').split('\n', SIZE.rows);
      expect(screenOf(terminal)).toEqual(Array.from({ length: 5 }, (_, i) => text[i] ?? ''));
    }
    expect(terminal.buffer.active.baseY).toBe(0);
    expect(out.text).not.toContain('\u001b[2J');
    expect(out.text).not.toContain('\u001b[3J');
    sink.write(frames[1] ?? '');
    await feed(terminal, out.writes.at(-1) ?? '');
    const cell = terminal.buffer.active.getLine(3)?.getCell(1);
    expect([cell?.getChars(), cell?.getBgColor(), cell?.getFgColor()]).toEqual(['4', 214, 0]);
    expect(terminal.buffer.active.getLine(3)?.getCell(4)?.isBgDefault()).toBe(true);
  });

  it('keeps only the newest frame while the terminal is busy', () => {
    const { sink, out } = sinkWith();
    out.isSlow = true;
    sink.write('1');
    for (let i = 2; i <= 50; i++) sink.write(String(i));
    expect(out.writes).toHaveLength(1);
    out.release();
    expect(out.writes).toHaveLength(2);
    expect(out.writes[1]).toContain('H50');
    out.release();
    expect(out.writes).toHaveLength(2);
  });

  it('writes nothing once closed, whatever was waiting', async () => {
    const { sink, out } = sinkWith();
    out.isSlow = true;
    sink.write('1');
    sink.write('2');
    sink.close();
    const idle = sink.idle();
    out.release();
    await idle;
    sink.write('3');
    expect(out.writes).toHaveLength(1);
    expect(sink.closed).toBe(true);
    sink.reopen();
    sink.write('4');
    expect(out.writes).toHaveLength(2);
  });
});

describe('FrameSink.resize()', () => {
  it('makes the next frame a full one of the new size', async () => {
    const { sink, out } = sinkWith();
    const terminal = await emulate(SIZE, '');
    sink.write('a\nb\nc\nd\ne');
    await feed(terminal, out.text);
    terminal.resize(30, 3);
    sink.resize({ columns: 30, rows: 3 });
    sink.write(`a\n${'b'.repeat(30)}\nc\nd\ne`);
    await feed(terminal, `\u001b[?7l${out.writes.at(-1) ?? ''}`);
    expect(screenOf(terminal)).toEqual(['a', 'b'.repeat(30), 'c']);
  });
});
