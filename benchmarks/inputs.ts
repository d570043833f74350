// Fills the inputs of cases and uploads them. Values repeat a pool of random numbers: only their kind matters for time.
import { GROUP, bitsPerElement, elementCount, fromFloat32, hostArray, isBlocks, isWeight } from '@magi1/tensor';
import type { AnyCase, AnyOp, CaseInput, Device, HostArray, Tensor } from '@magi1/tensor';

/** A prime: rows of common sizes do not come out equal. */
const POOL = 65_521;

/** Uniform numbers in (0, 1), the same in every run (xorshift). */
export function uniforms(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return (state + 0.5) / 2 ** 32;
  };
}

/** Standard normals. */
export function normals(count: number, seed: number): Float32Array<ArrayBuffer> {
  const uniform = uniforms(seed);
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** The host data of an input, raw bits for f16, bf16 and f8e4m3fn, bytes for q8 and q4. */
export function hostInput(input: CaseInput, seed: number): HostArray {
  const count = elementCount(input.shape);
  const fill = input.fill;
  if (fill?.kind === 'values') return fromFloat32(input.dtype, fill.values);
  const array = hostArray(input.dtype, count);
  const first = pool(input, Math.min(isBlocks(input.dtype) ? POOL - (POOL % GROUP) : POOL, count), seed);
  array.set(first);
  for (let filled = first.length; filled < array.length; filled *= 2) {
    array.copyWithin(filled, 0, Math.min(filled, array.length - filled));
  }
  return array;
}

function pool({ dtype, fill }: CaseInput, count: number, seed: number): HostArray {
  if (fill?.kind === 'normal' || (fill === undefined && isWeight(dtype))) {
    const { scale = 1, mean = 0 } = fill ?? {};
    return fromFloat32(
      dtype,
      normals(count, seed).map((value) => mean + scale * value),
    );
  }
  const below = fill?.kind === 'integers' ? fill.below : dtype === 'bool' ? 2 : bitsPerElement(dtype) === 8 ? 256 : 100;
  const uniform = uniforms(seed);
  return fromFloat32(
    dtype,
    Array.from({ length: count }, () => Math.floor(below * uniform())),
  );
}

export function uploadInputs(device: Device, opCase: AnyCase): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {};
  try {
    for (const [name, input] of Object.entries(opCase.inputs as Record<string, CaseInput | undefined>)) {
      if (input === undefined) continue;
      const seed = 1 + Object.keys(inputs).length;
      inputs[name] = device.tensor(hostInput(input, seed), input.shape, input.dtype);
    }
    return inputs;
  } catch (error) {
    disposeAll(inputs);
    throw error;
  }
}

export function disposeAll(tensors: Readonly<Record<string, Tensor>> | readonly Tensor[]): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

/** All cases of the table, real shapes included. */
export const casesOf = (op: AnyOp): readonly AnyCase[] => op.cases as readonly AnyCase[];
