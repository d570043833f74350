// npm run trials [-- --tries N] [-- --only TEXT]: kills, full disks, dying encoders and runs that meet, and a table of what
// was left. Ends with status 1 if anything whole was lost or anything broken was called complete.
import { parseArgs } from 'node:util';
import { adapterEnvironment } from './adapter.mjs';
import { prepare } from './magi1.mjs';
import { say, Stop } from './processes.mjs';

/** @param {readonly string[]} args */
export async function main(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      tries: { type: 'string', default: '20' },
      only: { type: 'string', default: '' },
      seed: { type: 'string', default: '1' },
    },
  });
  const [tries, seed] = [Number(values.tries), Number(values.seed)];
  if (!Number.isSafeInteger(tries) || tries < 1 || !Number.isSafeInteger(seed))
    throw new Stop('--tries: a whole number from 1 expected; --seed: a whole number');
  await prepare();
  Object.assign(process.env, (await adapterEnvironment()).env);
  const { deathTrials, diskTrials, killTrials, meetingTrials, resumeTrials } = await import('./trials/writers.mjs');
  const { abortTrials } = await import('./trials/aborts.mjs');
  const { modelTrials } = await import('./trials/quantize.mjs');
  const groups = {
    kills: () => killTrials(say, tries, seed),
    resume: () => resumeTrials(say, tries, seed),
    disks: () => diskTrials(say, tries),
    deaths: () => deathTrials(say),
    meetings: () => meetingTrials(say),
    aborts: () => abortTrials(say),
    models: () => modelTrials(say, tries, seed),
  };
  const rows = [];
  for (const [name, run] of Object.entries(groups)) if (name.includes(values.only)) rows.push(...(await run()));
  const width = Math.max(...rows.map(({ name }) => name.length));
  const line = (/** @type {readonly unknown[]} */ [name, ...numbers]) =>
    `${String(name).padEnd(width)}${numbers.map((number) => String(number ?? '').padStart(9)).join('')}\n`;
  process.stdout.write(line(['', 'tries', 'right', 'whole', 'part', 'nothing', 'lost', 'wrong']));
  for (const { name, tries: count, kept, whole, part, nothing, lost, wrong } of rows)
    process.stdout.write(line([name, count, kept, whole, part, nothing, lost, wrong]));
  process.stdout.write(
    'right: nothing lost, nothing broken called complete. Left were: the whole video, its finished part, or nothing of it; with --resume: a state to go on with, or nothing.\n',
  );
  return rows.every(({ lost, wrong }) => lost === 0 && wrong === 0) ? 0 : 1;
}
