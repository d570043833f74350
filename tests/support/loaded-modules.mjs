// Imported before a program: every module that it loads is written to the file that LOADED_MODULES names, one a line.
import { appendFileSync } from 'node:fs';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register(import.meta.url);

export async function load(url, context, nextLoad) {
  appendFileSync(process.env['LOADED_MODULES'], `${url}\n`);
  return nextLoad(url, context);
}
