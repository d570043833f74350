// Progress on stderr: bars with the time left on a terminal, plain lines now and then otherwise.
import progressBars from 'cli-progress';
import type { SingleBar } from 'cli-progress';
import type { Progress, ProgressListener, StageName } from '../pipelines/progress.ts';

export interface ProgressDisplay {
  readonly listener: ProgressListener;
  /** Prints a line above the bars. */
  say(line: string): void;
  /** Leaves the bars as they are; call it before printing anything else. */
  stop(): void;
}

export function showProgress(stream: NodeJS.WriteStream = process.stderr): ProgressDisplay {
  return stream.isTTY ? bars(stream) : lines(stream);
}

/** `45 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function timeLeft({ fraction, secondsLeft }: Progress): string {
  if (fraction >= 1) return 'done';
  return secondsLeft === undefined ? '' : `${formatSeconds(secondsLeft)} left`;
}

function bars(stream: NodeJS.WriteStream): ProgressDisplay {
  const display = new progressBars.MultiBar(
    { format: '{stage} {bar} {percentage}%  {detail}  {left}', hideCursor: true, stream, fps: 10, autopadding: true },
    progressBars.Presets.shades_classic,
  );
  const shown = new Map<StageName, SingleBar>();
  return {
    listener(progress) {
      const { stage, detail, fraction } = progress;
      const payload = { stage: stage.padEnd(9), detail, left: timeLeft(progress) };
      const bar = shown.get(stage);
      if (bar === undefined) shown.set(stage, display.create(100, Math.floor(100 * fraction), payload));
      else bar.update(Math.floor(100 * fraction), payload);
    },
    say: (line) => display.log(`${line}\n`),
    stop: () => display.stop(),
  };
}

const LINE_EVERY_SECONDS = 10;

/** A line when a stage begins, ends, or some seconds have passed. */
function lines(stream: NodeJS.WritableStream): ProgressDisplay {
  const last = new Map<StageName, { time: number; detail: string; fraction: number }>();
  return {
    listener(progress) {
      const { stage, detail, fraction } = progress;
      const time = performance.now() / 1000;
      const before = last.get(stage);
      const due =
        before === undefined || time - before.time >= LINE_EVERY_SECONDS || (fraction >= 1 && before.fraction < 1);
      if (!due) return;
      last.set(stage, { time, detail, fraction });
      stream.write(
        `${[`${stage} ${Math.floor(100 * fraction)}%`, detail, timeLeft(progress)].filter((s) => s !== '').join(', ')}\n`,
      );
    },
    say: (line) => void stream.write(`${line}\n`),
    stop: () => undefined,
  };
}
