// Errors that the GPU reports late. Every failure reaches each wait that was under way or begins next; none is lost.
import { Magi1Error } from '../errors.ts';

export class FailureLog {
  #failures: Magi1Error[] = [];
  /** Failures dropped from the front of the list, already reported. */
  #dropped = 0;
  #acknowledged = 0;
  #checks = new Set<Promise<void>>();

  report(error: Magi1Error): void {
    this.#failures.push(error);
  }

  /** Reports an error that explains others: it goes before those that nobody has been told of. */
  reportCause(error: Magi1Error): void {
    this.#failures.splice(this.#acknowledged - this.#dropped, 0, error);
  }

  /** Follows a check that is under way (an error scope, a compilation): `settle` waits for it. */
  watch(check: Promise<void>): void {
    const followed = check
      .catch((error: unknown) => {
        this.report(new Magi1Error(`WebGPU: ${(error as Error).message}`));
      })
      .finally(() => this.#checks.delete(followed));
    this.#checks.add(followed);
  }

  /** What a wait keeps from its start and gives to `throwSince` at its end. */
  mark(): number {
    return this.#acknowledged;
  }

  /** Resolves when no check is under way. */
  async settle(): Promise<void> {
    while (this.#checks.size > 0) await Promise.all(this.#checks);
  }

  /** Throws the first failure that nobody had been told of at `mark`. */
  throwSince(mark: number): void {
    const first = this.#failures[Math.max(0, mark - this.#dropped)];
    if (first === undefined) return;
    this.#acknowledged = this.#dropped + this.#failures.length;
    const surplus = this.#failures.length - 64;
    if (surplus > 0) {
      this.#failures.splice(0, surplus);
      this.#dropped += surplus;
    }
    throw first;
  }

  /** Throws the first failure that nobody has been told of. */
  throwNew(): void {
    this.throwSince(this.#acknowledged);
  }
}
