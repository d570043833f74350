// One request over HTTP that outlives what goes wrong on the way: cut and stalled connections, servers that are busy.
import { FileFormatError, Magi1Error } from '@magi1/tensor';

export interface HttpOptions {
  /** Sent with every request. `authorization` is not passed on to other servers that a redirect leads to. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Failures in a row, without one byte in between, after which it gives up. Default 6. */
  readonly attempts?: number | undefined;
  /** Before the second attempt, in seconds; each further wait is twice as long. Default 1. */
  readonly firstWait?: number | undefined;
  /** Seconds without a byte after which a connection counts as cut. Default 30. */
  readonly stallTimeout?: number | undefined;
  /** Told before each wait. */
  readonly onRetry?: ((retry: HttpRetry) => void) | undefined;
}

export interface HttpRetry {
  readonly name: string;
  /** What went wrong, in a few words. */
  readonly reason: string;
  readonly waitSeconds: number;
}

/** The server refuses. */
export class HttpError extends Magi1Error {
  override name = 'HttpError';
  readonly status: number;
  /** What the server calls the fault, in its `x-error-code`. */
  readonly code: string | undefined;

  constructor(message: string, status: number, code?: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Worth another attempt. */
export class HttpCut extends Error {
  /** Seconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(message: string, wait?: number, cause?: unknown) {
    super(message, { cause });
    this.wait = wait;
  }
}

/** A longer wait than a server may ask for: then it is better to end and to be started again. */
const LONGEST_WAIT = 300;

/** Failures in a row of one piece of work. */
export class Retries {
  readonly #name: string;
  readonly #options: HttpOptions;
  #failures = 0;

  constructor(name: string, options: HttpOptions) {
    this.#name = name;
    this.#options = options;
  }

  /** Something came. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits before the next attempt; throws where there is none. */
  async after(cause: unknown, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (!(cause instanceof HttpCut)) throw cause;
    const { attempts = 6, firstWait = 1, onRetry } = this.#options;
    this.#failures++;
    const wait = cause.wait ?? firstWait * 2 ** (this.#failures - 1);
    if (this.#failures >= attempts || wait > LONGEST_WAIT) {
      const often = this.#failures > 1 ? `, ${this.#failures} times in a row` : '';
      const later = wait > LONGEST_WAIT ? `; it asks to wait ${Math.ceil(wait)} seconds` : '';
      throw new FileFormatError(`${this.#name}: ${cause.message}${often}${later}`, { cause });
    }
    onRetry?.({ name: this.#name, reason: cause.message, waitSeconds: wait });
    await pause(wait, signal);
  }
}

function pause(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', ended);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener('abort', ended, { once: true });
  });
}

/** An answer whose head has come; its body is read once. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** @throws HttpCut where the connection ends before the body does */
  body(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Lets the connection go; what has not been read is not fetched. */
  cancel(): Promise<void>;
}

/**
 * Sends one GET and waits for the head of the answer.
 * @throws HttpCut for what may pass, HttpError for a refusal
 */
export async function request(
  name: string,
  url: string,
  headers: Readonly<Record<string, string>>,
  { stallTimeout = 30, ...options }: HttpOptions,
  signal: AbortSignal | undefined,
): Promise<HttpAnswer> {
  const controller = new AbortController();
  const abort = () => controller.abort(signal!.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', abort, { once: true });
  const waiting = async <T>(step: Promise<T>): Promise<T> => {
    const stalled = new HttpCut(`nothing came for ${stallTimeout} seconds`);
    const timer = setTimeout(() => controller.abort(stalled), stallTimeout * 1000);
    try {
      return await step;
    } catch (cause) {
      signal?.throwIfAborted();
      if (controller.signal.reason === stalled) throw stalled;
      throw transportError(name, cause);
    } finally {
      clearTimeout(timer);
    }
  };
  const done = () => signal?.removeEventListener('abort', abort);
  const response = await waiting(
    // Compressed answers have other lengths and no ranges.
    fetch(url, {
      headers: { 'accept-encoding': 'identity', ...options.headers, ...headers },
      signal: controller.signal,
    }),
  ).catch((cause: unknown) => {
    done();
    throw cause;
  });
  const reader = response.body?.getReader();
  const cancel = async () => {
    done();
    await reader?.cancel().catch(() => undefined); // a connection that is broken already
  };
  if (!response.ok) {
    const { status } = response;
    const code = response.headers.get('x-error-code') ?? undefined;
    const said = response.headers.get('x-error-message');
    await cancel();
    const message = `the server answers ${status}${said ? ` (${said.slice(0, 200)})` : ''}`;
    if (status === 408 || status === 425 || status === 429 || status >= 500)
      throw new HttpCut(message, waitAskedFor(response.headers));
    throw new HttpError(`${name}: ${message}`, status, code);
  }
  return {
    status: response.status,
    headers: response.headers,
    cancel,
    async *body() {
      if (reader === undefined) return;
      try {
        for (;;) {
          const { done: end, value } = await waiting(reader.read());
          if (end) return;
          yield value;
        }
      } finally {
        await cancel();
      }
    },
  };
}

/** Faults that another attempt meets again: certificates, addresses, and redirects that lead nowhere. */
const LASTING = /CERT|SELF_SIGNED|UNABLE_TO|_TLS_|SSL|INVALID_URL|bad port|scheme|redirect|cross origin|credentials/;

export const withoutPassword = (url: string): string => url.replace(/^(\w+:\/\/)?[^/?#]*@/, '$1');

function transportError(name: string, cause: unknown): Error {
  if (cause instanceof HttpCut) return cause;
  const inner = (cause as { cause?: unknown }).cause;
  const { code } = (inner ?? cause) as { code?: unknown };
  const what = typeof code === 'string' ? code : ((inner ?? cause) as Error).message;
  if (/credentials/.test(what))
    return new FileFormatError(`${withoutPassword(name)}: an address without a user and a password expected`);
  const fault = what.includes('redirect count') ? 'the server redirects without an end' : 'no connection';
  if (LASTING.test(what)) return new FileFormatError(`${name}: ${fault} (${what})`, { cause });
  return new HttpCut(`the connection failed (${what})`, undefined, cause);
}

/** Seconds by `retry-after`, in either of its forms, or until the window of `ratelimit` ends. */
function waitAskedFor(headers: Headers): number | undefined {
  const after = headers.get('retry-after');
  if (after !== null) {
    const seconds = /^\s*\d+\s*$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
    if (Number.isFinite(seconds)) return Math.max(0, seconds);
  }
  const window = /\bt=(\d+)/.exec(headers.get('ratelimit') ?? '');
  return window === null ? undefined : Number(window[1]);
}

export interface HttpDocument {
  readonly bytes: Uint8Array;
  readonly headers: Headers;
}

/**
 * A small document as a whole, such as an answer in JSON.
 * @throws FileFormatError when it has more than `limit` bytes or the server cannot be reached, HttpError for a refusal
 */
export async function fetchDocument(
  name: string,
  url: string,
  limit: number,
  options: HttpOptions = {},
  signal?: AbortSignal,
): Promise<HttpDocument> {
  const retries = new Retries(name, options);
  for (;;) {
    try {
      const answer = await request(name, url, {}, options, signal);
      const parts: Uint8Array[] = [];
      let size = 0;
      for await (const part of answer.body()) {
        size += part.length;
        if (size > limit) throw new FileFormatError(`${name}: more than ${limit} bytes`);
        parts.push(part);
      }
      const bytes = new Uint8Array(size);
      let at = 0;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
      }
      return { bytes, headers: answer.headers };
    } catch (cause) {
      await retries.after(cause, signal);
    }
  }
}
