// npm run -s plan [-- --adapter NAME]: memory as planned beside what runs take, as a table in Markdown.
import { execFileSync } from 'node:child_process';
import { adapterEnvironment } from './adapter.mjs';
import { prepare } from './magi1.mjs';
import { ROOT, foreground } from './processes.mjs';

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  const { env } = await adapterEnvironment();
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT, encoding: 'utf8' }).trim();
  const script = new URL('plan-table.mjs', import.meta.url).pathname;
  return foreground(process.execPath, [script, commit, ...args], { env: { ...process.env, ...env } });
}
