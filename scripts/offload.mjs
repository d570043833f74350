// npm run -s offload [-- --blocks N --threads N --only PART]: what loading and offloading cost, as tables in Markdown.
import { prepare } from './magi1.mjs';
import { foreground } from './processes.mjs';

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  return foreground(process.execPath, [new URL('offload-table.mjs', import.meta.url).pathname, ...args]);
}
