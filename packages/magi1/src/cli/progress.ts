// Progress on stderr: a bar with the time left on a terminal, plain lines now and then otherwise.
import type { SingleBar } from 'cli-progress';
import type { Progress } from '../pipelines/progress.ts';
import { printable } from './printable.ts';

/** Of a pipeline's call, or of anything else that takes long. */
export interface ShownProgress extends Pick<Progress, 'detail' | 'fraction' | 'secondsLeft'> {
  readonly stage: string;
}

export interface ProgressDisplay {
  readonly listener: (progress: ShownProgress) => void;
  /** Prints a line above the bars. */
  say(line: string): void;
  /** Leaves the bars as they are; call it before printing anything else. */
  stop(): void;
}

export async function showProgress(stream: NodeJS.WriteStream = process.stderr): Promise<ProgressDisplay> {
  return stream.isTTY ? bars(stream) : lines(stream);
}

/** `0.04 s`, `3.2 s`, `45 s`, `3 min 20 s`, `1 h 5 min`, `3 d 2 h`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.995) return seconds === 0 ? '0 s' : seconds < 0.005 ? 'under 0.01 s' : `${seconds.toFixed(2)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  return wholeSeconds(Math.round(seconds));
}

function wholeSeconds(whole: number): string {
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const hours = Math.floor(whole / 3600);
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  return `${hours} h ${Math.floor((whole % 3600) / 60)} min`;
}

const percent = ({ fraction }: ShownProgress): number => Math.floor(100 * fraction);

function timeLeft({ fraction, secondsLeft }: ShownProgress): string {
  if (fraction >= 1) return 'done';
  return secondsLeft === undefined ? '' : `${wholeSeconds(Math.ceil(secondsLeft))} left`;
}

/** A bar for each call: opening the model, then the run. */
async function bars(stream: NodeJS.WriteStream): Promise<ProgressDisplay> {
  const { default: progressBars } = await import('cli-progress');
  const display = new progressBars.MultiBar(
    { format: '{bar} {percentage}%  {stage}: {detail}  {left}', hideCursor: true, stream, fps: 10, autopadding: true },
    progressBars.Presets.shades_classic,
  );
  let bar: SingleBar | undefined;
  return {
    listener(progress) {
      const { stage, detail, fraction } = progress;
      const payload = { stage, detail, left: timeLeft(progress) };
      if (bar === undefined) bar = display.create(100, percent(progress), payload);
      else bar.update(percent(progress), payload);
      if (fraction >= 1) bar = undefined;
    },
    say: (line) => display.log(`${printable(line)}\n`),
    stop: () => display.stop(),
  };
}

const LINE_EVERY_SECONDS = 10;

/** A line when a stage is first at work, when all is done, and when some seconds have passed. */
function lines(stream: NodeJS.WritableStream): ProgressDisplay {
  const seen = new Set<string>();
  let last = 0;
  return {
    listener(progress) {
      const { stage, detail, fraction } = progress;
      const time = performance.now() / 1000;
      if (seen.has(stage) && time - last < LINE_EVERY_SECONDS && fraction < 1) return;
      seen.add(stage);
      last = time;
      if (fraction >= 1) seen.clear(); // the next call begins anew
      const parts = [`${stage}: ${detail}`, timeLeft(progress)].filter((part) => part !== '');
      stream.write(`${String(percent(progress)).padStart(3)}% ${parts.join(', ')}\n`);
    },
    say: (line) => void stream.write(`${printable(line)}\n`),
    stop: () => undefined,
  };
}
