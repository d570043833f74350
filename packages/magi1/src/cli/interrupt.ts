// Ctrl-C, a polite kill and the end of the terminal: the first one cancels, the second ends the process at once.
import { constants } from 'node:os';

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
  /** Exit status of a run that was cancelled, as a shell shows it: 130 for Ctrl-C. */
  readonly status: number;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Until it is disposed, these signals abort `signal`; `onFirst` is called then, and `onSecond` before the process ends. */
export function catchInterrupt(onFirst: () => void, onSecond: () => void = () => undefined): Interrupt {
  const controller = new AbortController();
  let status = 0;
  const handler = (name: NodeJS.Signals): void => {
    status = 128 + constants.signals[name];
    if (controller.signal.aborted) {
      onSecond();
      process.exit(status);
    }
    onFirst();
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, handler);
  return {
    signal: controller.signal,
    get status() {
      return status;
    },
    [Symbol.dispose]() {
      for (const name of SIGNALS) process.off(name, handler);
    },
  };
}
