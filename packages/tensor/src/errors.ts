// Error classes shared by every package. A message names the thing, what was expected and what came.

/** Base class: anything this project raises on purpose is a Magi1Error; the command line prints its message alone. */
export class Magi1Error extends Error {
  override name = 'Magi1Error';
}

/** An op was called with inputs or parameters that break its contract. */
export class OpError extends Magi1Error {
  override name = 'OpError';
  constructor(op: string, message: string) {
    super(`${op}: ${message}`);
  }
}

/** The device has no room left for an allocation that would fit an empty one, or its memory budget forbids it. */
export class OutOfMemoryError extends Magi1Error {
  override name = 'OutOfMemoryError';
}

/** A tensor exceeds a limit of the device (buffer size, address space) and can never be created there. */
export class TensorTooLargeError extends Magi1Error {
  override name = 'TensorTooLargeError';
}

/** The device is lost or was disposed. */
export class DeviceLostError extends Magi1Error {
  override name = 'DeviceLostError';
}

/** A file or folder is missing, unreadable, corrupt or not what its place says it is. */
export class FileFormatError extends Magi1Error {
  override name = 'FileFormatError';
}

/** A value, whatever it is, as it shows in messages. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === 'object') return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}
