// magi1 generate --profile: where the time of a run goes, as a trace in a file and a table.
import { chromeTrace, profileTable } from '@magi1/tensor';
import type { Device, Profile } from '@magi1/tensor';
import type { Output } from '../media/index.ts';
import { publishFile } from '../media/node/single-file.ts';

/** What `body` gives, and, where it is wanted, where its time went. */
export async function profiled<T>(
  device: Device,
  wanted: boolean,
  body: () => Promise<T>,
): Promise<{ readonly result: T; readonly profile?: Profile }> {
  if (!wanted) return { result: await body() };
  let result: T;
  const profile = await device.profile(async () => {
    result = await body();
  });
  return { result: result!, profile };
}

/** Writes the trace. Returns the lines of a table. */
export async function writeTrace(file: Output, profile: Profile): Promise<string> {
  await publishFile(file, new TextEncoder().encode(JSON.stringify(chromeTrace(profile))));
  return `\n${profileTable(profile)}\ntrace ${file.path} (for chrome://tracing or ui.perfetto.dev)\n`;
}
