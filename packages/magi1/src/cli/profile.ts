// magi1 generate --profile: where the time of a run goes, as a trace in a file and a table.
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { chromeTrace, profileTable } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { UsageError, text } from './command.ts';
import type { Values } from './command.ts';

/** The file that a trace goes to. Throws UsageError where it exists and may not be replaced, or cannot be written. */
export function profileFile(values: Values): string | undefined {
  const path = text(values, 'profile');
  if (path === undefined) return undefined;
  if (existsSync(path) && values.overwrite !== true)
    throw new UsageError(`--profile: ${path} exists; --overwrite replaces it`);
  if (!existsSync(dirname(path))) throw new UsageError(`--profile: there is no folder ${dirname(path)}`);
  return path;
}

/** What `body` gives, and, where a file is named, the lines of a table; the file is written. */
export async function profiled<T>(
  device: Device,
  path: string | undefined,
  body: () => Promise<T>,
): Promise<{ readonly result: T; readonly table: string }> {
  if (path === undefined) return { result: await body(), table: '' };
  let result: T;
  const profile = await device.profile(async () => {
    result = await body();
  });
  await writeFile(path, JSON.stringify(chromeTrace(profile)));
  return {
    result: result!,
    table: `\n${profileTable(profile)}\ntrace ${path} (for chrome://tracing or ui.perfetto.dev)\n`,
  };
}
