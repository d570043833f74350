// Ctrl-C: the first one cancels, the second ends the process at once.

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

const INTERRUPTED = 130;

/** Until it is disposed, SIGINT and SIGTERM abort `signal`; `onFirst` is called then. */
export function catchInterrupt(onFirst: () => void): Interrupt {
  const controller = new AbortController();
  const handler = (): void => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    onFirst();
    controller.abort();
  };
  process.on('SIGINT', handler).on('SIGTERM', handler);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      process.off('SIGINT', handler).off('SIGTERM', handler);
    },
  };
}
