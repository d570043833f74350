// Synchronous scopes: what is created inside and not returned is disposed when the scope ends.
import { Magi1Error } from './errors.ts';
import { Tensor } from './tensor.ts';

/**
 * Runs `body` and disposes every tensor created by it, except those found in its result: a tensor, or arrays and
 * plain objects of tensors at any depth. Nested scopes hand their result to the scope around them.
 * `body` must be synchronous: a promise as result is an error, because tensors made after the first await escape.
 */
export function scope<T>(body: () => T): T {
  const created = Tensor.openScope();
  let result: T;
  try {
    result = body();
  } catch (error) {
    Tensor.closeScope(created, new Set());
    throw error;
  }
  const kept = new Set<Tensor>();
  collectTensors(result, kept);
  Tensor.closeScope(created, kept);
  if (result instanceof Promise) throw new Magi1Error('scope: the body must be synchronous, it returned a promise');
  return result;
}

/** Takes a tensor out of the scope it was made in: its owner disposes it. For caches and other long-lived state. */
export function keep(tensor: Tensor): Tensor {
  Tensor.leaveScope(tensor);
  return tensor;
}

function collectTensors(value: unknown, into: Set<Tensor>): void {
  if (value instanceof Tensor) {
    into.add(value as Tensor);
  } else if (Array.isArray(value)) {
    for (const item of value) collectTensors(item, into);
  } else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) collectTensors(item, into);
  }
}
