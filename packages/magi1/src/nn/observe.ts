// Shows what the modules of a network compute, without the network knowing of it.
import { Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';

/** Called with what a module has computed; the tensor is valid during the call only (`keepView` to hold it). */
export type Observer = (path: string, tensor: Tensor) => void;

type Method = (this: Module, ...args: unknown[]) => unknown;

/**
 * Shows the tensors that come out of a network's modules while `body` runs: of `forward` under the module's path, of other
 * methods under `path.method`; of several tensors each, under `.0`, `.1` or its field. Models do not know of it, and an
 * unobserved one pays nothing.
 */
export async function observe<T>({ modules }: Params, seen: Observer, body: () => Promise<T>): Promise<T> {
  const observed: (() => void)[] = [];
  for (const [path, module] of modules) {
    for (const name of methodsOf(module)) {
      const method = Reflect.get(module, name) as Method;
      const label = name === 'forward' ? path : joined(path, name);
      const shown = (...args: unknown[]): unknown => {
        const result = method.apply(module, args);
        if (result instanceof Promise)
          return result.then((value: unknown) => {
            show(label, value, seen);
            return value;
          });
        show(label, result, seen);
        return result;
      };
      Object.defineProperty(module, name, { value: shown, configurable: true });
      observed.push(() => Reflect.deleteProperty(module, name));
    }
  }
  try {
    return await body();
  } finally {
    for (const restore of observed) restore();
  }
}

function show(path: string, value: unknown, seen: Observer): void {
  if (value instanceof Tensor) seen(path, value as Tensor);
  else if (Array.isArray(value)) value.forEach((item, i) => show(joined(path, i), item, seen));
  else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    for (const [name, item] of Object.entries(value)) show(joined(path, name), item, seen);
}

function joined(path: string, name: string | number): string {
  return path === '' ? String(name) : `${path}.${name}`;
}

/** Names of the methods of a module and the classes it extends. */
function methodsOf(module: Module): Set<string> {
  const names = new Set<string>();
  for (
    let type = Object.getPrototypeOf(module) as object;
    type !== Module.prototype;
    type = Object.getPrototypeOf(type) as object
  )
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(type)))
      if (typeof value === 'function' && name !== 'constructor') names.add(name);
  return names;
}
