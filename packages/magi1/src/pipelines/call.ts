// One call of a pipeline while it is under way: what ends it early, and the listeners that it has.
import type { Progress, ProgressListener } from './progress.ts';

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Ends by the caller's signal, when its pipeline is disposed, and when its listener's promise rejects. */
export class Call {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #sources: readonly AbortSignal[];
  readonly #onProgress: ProgressListener | undefined;
  readonly #listening = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor({ signal, onProgress }: CallOptions, disposed: AbortSignal) {
    this.signal = this.#controller.signal;
    this.#sources = signal === undefined ? [disposed] : [disposed, signal];
    this.#onProgress = onProgress;
    for (const source of this.#sources) {
      if (source.aborted) this.#controller.abort(source.reason);
      source.addEventListener('abort', this.#abort);
    }
  }

  readonly #abort = ({ target }: Event): void => this.#controller.abort((target as AbortSignal).reason);

  /** The caller's listener. It is called at once and not waited for; a promise of it that rejects ends the call. */
  readonly onProgress = (progress: Progress): void => {
    const answer: unknown = this.#onProgress?.(progress);
    if (!(answer instanceof Promise)) return;
    const settled: Promise<void> = answer.then(
      () => void this.#listening.delete(settled),
      (error: unknown) => {
        this.#failure ??= { error };
        this.#controller.abort(error);
      },
    );
    this.#listening.add(settled);
  };

  /** What listeners have begun is waited for: @throws what one of them rejected with. */
  async settle(): Promise<void> {
    await Promise.all(this.#listening);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this.#abort);
  }
}
