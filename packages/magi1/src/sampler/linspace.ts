// Evenly spaced float32 values from 0 to 1 as torch.linspace rounds them, which depends on its version and on the machine.

/** How one build of PyTorch computes linspace. */
export interface LinspaceRounding {
  /** Floats in a vector of PyTorch 1's CPU kernel: values count from the vector's first. null: each by itself. */
  readonly vector: 8 | 16 | null;
  /** Multiplication and addition round once. */
  readonly fused: boolean;
}

/** PyTorch 2, on CPUs with fused multiply-add and, by the same formula, on GPUs. */
export const CURRENT_ROUNDING: LinspaceRounding = { vector: null, fused: true };

/** Every rounding that PyTorch on a CPU has had: 2 with and without AVX2; 1.13 without, with AVX2, with AVX-512. */
export const LINSPACE_ROUNDINGS: readonly LinspaceRounding[] = [
  CURRENT_ROUNDING,
  { vector: null, fused: false },
  { vector: 8, fused: false },
  { vector: 8, fused: true },
  { vector: 16, fused: true },
];

const f32 = Math.fround;

/** torch.linspace(0, 1, steps + 1): from 0 up in the first half, from 1 down in the second. */
export function linspace(steps: number, { vector, fused }: LinspaceRounding = CURRENT_ROUNDING): Float32Array {
  const count = steps + 1;
  const step = f32(1 / steps);
  const single = (i: number): number => {
    if (i < count >> 1) return f32(step * i);
    const down = step * (steps - i); // exact in float64
    return f32(1 - (fused ? down : f32(down)));
  };
  // The vector kernel takes two at a time and leaves what remains to the plain one.
  const vectors = vector === null ? 0 : count - (count % (2 * vector));
  return Float32Array.from({ length: count }, (_, i) => {
    if (vector === null || i >= vectors) return single(i);
    const within = i % vector;
    return f32(single(i - within) + f32(step * within));
  });
}
