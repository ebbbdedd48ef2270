/** `oxide-kv export`: all keys of a running cluster, as they are at one moment, as JSON lines. */
import { fromLatin1 } from '../../lib/bytes.ts';
import type { Args } from '../args.ts';
import type { Command, Context } from '../command.ts';
import { CLIENT_OPTIONS, DATA_OPTIONS } from '../command.ts';
import { jsonField, readKey } from '../data.ts';
import { EXIT } from '../failure.ts';
import { type OutputFile, openOutput } from '../output-file.ts';
import { jsonText } from '../output.ts';
import { readPages } from '../pages.ts';
import { Progress, progressBar } from '../progress.ts';
import { type StoreClient, withStore } from '../store.ts';
import { bytesText, counted } from '../units.ts';

/** Exit code 130, and no file, when it is interrupted. */
export const command: Command = {
  name: 'export',
  positionals: ['FILE'],
  description: [
    'Writes every key with its value to FILE ("-": standard output), one JSON object a line: {"key":"color","value":"blue"}. Bytes that are not text become "keyBase64" and "valueBase64". It is what `scan --json` prints, and what `import` reads.',
    'All of it is as it was at one moment, although clients write meanwhile. FILE appears, or replaces an older one, when it is whole.',
  ],
  options: [
    { name: 'prefix', value: 'PREFIX', help: 'Only keys that begin with PREFIX' },
    ...CLIENT_OPTIONS,
    ...DATA_OPTIONS,
  ],
  examples: [
    { line: 'oxide-kv export backup.jsonl', why: 'Everything' },
    { line: 'oxide-kv export - --prefix user/ | gzip > users.jsonl.gz', why: 'The users, compressed' },
  ],
  async run(args, context) {
    const path = args.positional(0);
    const signal = context.watchSignals();
    const file = openOutput(path, context);
    let isStopped = false;
    void signal.stopped.then(() => (isStopped = true));
    try {
      const totals = await withStore(args, context, (client) =>
        exportAll(client, file, { args, context, isOver: () => isStopped || context.out.isClosed }),
      );
      if (isStopped) return EXIT.interrupted;
      file.commit();
      report(totals, path, args, context);
      return EXIT.ok;
    } finally {
      file.abort();
      signal.release();
    }
  },
};

interface Totals {
  keys: number;
  bytes: number;
  revision: number;
}

async function exportAll(
  client: StoreClient,
  file: OutputFile,
  how: { readonly args: Args; readonly context: Context; readonly isOver: () => boolean },
): Promise<Totals> {
  const { args, context, isOver } = how;
  const progress = new Progress(context, args);
  const totals: Totals = { keys: 0, bytes: 0, revision: 0 };
  const prefix = readKey(args.text('prefix') ?? '', args);
  const { data_bytes: expected } = await client.status();
  const isWhole = prefix.length === 0 && typeof expected === 'number';
  try {
    for await (const { rows, revision } of readPages(client, prefix)) {
      let text = '';
      for (const { key, value } of rows) {
        const keyField = jsonField('key', fromLatin1(key), args.has('base64-key'));
        text += `${jsonText({ ...keyField, ...jsonField('value', value, args.has('base64')) })}\n`;
        totals.bytes += key.length + value.length;
      }
      totals.keys += rows.length;
      totals.revision = revision;
      await file.write(text);
      const name = counted(totals.keys, 'key');
      progress.show(
        isWhole ? progressBar(totals.bytes, expected, name) : `Exported ${name}, ${bytesText(totals.bytes)}`,
      );
      if (isOver()) break;
    }
  } finally {
    progress.clear();
  }
  return totals;
}

/** Standard output is for the keys, if they go there. */
function report({ keys, bytes, revision }: Totals, path: string, args: Args, context: Context): void {
  const to = path === '-' ? context.err : context.out;
  if (args.has('json')) {
    if (path !== '-') to.json({ ok: true, keys, bytes, revision, file: path });
    return;
  }
  const where = path === '-' ? '' : ` to ${path}`;
  to.line(`Exported ${counted(keys, 'key')} (${bytesText(bytes)}) as of revision ${revision}${where}`);
}
