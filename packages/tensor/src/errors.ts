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

/** What JavaScript itself calls the kind of an object: `Object` for plain ones and those of a program's own classes. */
const kindOf = (value: object): string => Object.prototype.toString.call(value).slice('[object '.length, -1);

/** Whether it can be an object of options: no array, Date, Map or other object of a class of the language. */
export function isOptions(value: unknown): value is object {
  return typeof value === 'object' && value !== null && kindOf(value) === 'Object';
}

/** A value, whatever it is, as it shows in messages. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (value === null) return 'null';
  if (typeof value === 'object') {
    const kind = kindOf(value).replace(/^(Object|Array)$/, (name) => name.toLowerCase());
    return `${/^[AEIOaeio]/.test(kind) ? 'an' : 'a'} ${kind}`;
  }
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}
