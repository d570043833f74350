// Byte sources: random access to the bytes of a Blob, an array or part of another source. Files are opened by folder.ts.
import { FileFormatError } from '@magi1/tensor';

/** There is no file or folder of this name; what is there and cannot be read is another error. */
export class NotFoundError extends FileFormatError {}

/** Random-access bytes under a name that error messages can show. */
export interface ByteSource {
  readonly name: string;
  /** Total length in bytes. */
  readonly size: number;
  /** Differs where the content does, as far as can be told without reading it: time of change or checksum. */
  readonly version?: string | undefined;
  /**
   * Exactly `length` bytes from `offset`, placed at the start of `into` when it is given.
   * @param signal ends a long read early, where the source can
   * @throws FileFormatError when the source ends before that.
   */
  read(offset: number, length: number, into?: Uint8Array, signal?: AbortSignal): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Where written bytes go, in order. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void> | void;
}

/** Largest single request to the system: bounds copies, and Node refuses reads of 2 GiB. */
export const STEP = 16 << 20;

/** The destination of a read: a view of `into`, or fresh memory. */
export function destination(name: string, length: number, into: Uint8Array | undefined): Uint8Array {
  if (!into) return allocate(name, length);
  if (into.length < length) throw new RangeError(`${name}: read of ${length} bytes into a buffer of ${into.length}`);
  return into.length === length ? into : into.subarray(0, length);
}

/**
 * One character per byte, U+0000 to U+00FF. Not TextDecoder('latin1'): that label means windows-1252 by its standard.
 */
export function byteString(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Fresh memory; a size that the engine cannot allocate is an error about the file that asked for it. */
export function allocate(name: string, byteLength: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch (cause) {
    throw new FileFormatError(`${name}: cannot allocate ${byteLength} bytes of host memory`, { cause });
  }
}

/** @throws FileFormatError for a range that is none, or that leaves the file */
export function checkRange(source: { name: string; size: number }, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new FileFormatError(`${source.name}: invalid byte range, offset ${offset}, length ${length}`);
  }
  if (offset + length > source.size) {
    throw new FileFormatError(
      `${source.name}: truncated, bytes ${offset} to ${offset + length} are needed but it ends at ${source.size}`,
    );
  }
}

/** Bytes in memory. Without `into`, `read` returns a view of them. */
export function bytesSource(bytes: Uint8Array, name = 'bytes'): ByteSource {
  return {
    name,
    size: bytes.length,
    // eslint-disable-next-line @typescript-eslint/require-await -- errors must reject, not throw
    read: async (offset, length, into) => {
      checkRange({ name, size: bytes.length }, offset, length);
      const part = bytes.subarray(offset, offset + length);
      if (!into) return part;
      const out = destination(name, length, into);
      out.set(part);
      return out;
    },
    close: async () => {},
  };
}

/** A Blob or File of the browser (or of Node). */
export function blobSource(blob: Blob, name = 'name' in blob ? String(blob.name) : 'blob'): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length, into, signal) => {
      checkRange({ name, size: blob.size }, offset, length);
      const out = destination(name, length, into);
      for (let done = 0; done < length; done += STEP) {
        signal?.throwIfAborted();
        const end = Math.min(done + STEP, length);
        const part = new Uint8Array(await blob.slice(offset + done, offset + end).arrayBuffer());
        if (part.length !== end - done) throw new FileFormatError(`${name}: the Blob changed while it was read`);
        out.set(part, done);
      }
      return out;
    },
    close: async () => {},
  };
}

/** Part of another source; closing it leaves the other open. */
export function sliceSource(source: ByteSource, start: number, size: number, name = source.name): ByteSource {
  return {
    name,
    size,
    read: async (offset, length, into, signal) => {
      checkRange({ name, size }, offset, length);
      return source.read(start + offset, length, into, signal);
    },
    close: async () => {},
  };
}

/** The short reason of a system error. */
export function reason(cause: unknown): string {
  return cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.message) : String(cause);
}
