// Entry of every npm script of this repository: node scripts/run.mjs COMMAND [args]
import { checkNode } from './bootstrap.mjs';
import { Stop } from './processes.mjs';

const commands = {
  demo: () => import('./demo.mjs'),
  test: () => import('./test.mjs'),
  check: () => import('./check.mjs'),
  bundle: () => import('./bundle.mjs'),
  magi1: () => import('./magi1.mjs'),
  bench: () => import('./bench.mjs'),
  blocks: () => import('./blocks.mjs'),
  eval: () => import('./eval.mjs'),
  plan: () => import('./plan.mjs'),
  offload: () => import('./offload.mjs'),
  rehearse: () => import('./rehearse.mjs'),
  trials: () => import('./trials.mjs'),
  house: () => import('./house.mjs'),
  'verify-all': () => import('./verify-all.mjs'),
};

const [name = '', ...args] = process.argv.slice(2);
try {
  checkNode();
  const load = Object.hasOwn(commands, name) ? commands[/** @type {keyof typeof commands} */ (name)] : undefined;
  if (load === undefined) throw new Stop(`One of ${Object.keys(commands).join(', ')} expected, got '${name}'.`);
  const status = await (await load()).main(args);
  if (status !== undefined) process.exitCode = status;
} catch (error) {
  if (!(error instanceof Stop)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
