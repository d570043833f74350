// A whole program under measurement: runs.ts starts `node runProbe.js MAIN ARGS...` and reads, from descriptor 3, the
// processor time of the process in milliseconds: in all, and until it said that it denoises.
import { writeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import type { Spent } from './runs.ts';

const processorMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
};

let firstStep: number | undefined;
const write = process.stderr.write.bind(process.stderr) as (...args: unknown[]) => boolean;
process.stderr.write = (...args: unknown[]): boolean => {
  if (String(args[0]).includes('denoising: ')) firstStep ??= processorMs();
  return write(...args);
};
process.on('exit', () => {
  const spent: Omit<Spent, 'wall'> = { processor: processorMs(), ...(firstStep !== undefined && { firstStep }) };
  writeSync(3, JSON.stringify(spent));
});

process.argv.splice(1, 1);
await import(pathToFileURL(process.argv[1]!).href);
