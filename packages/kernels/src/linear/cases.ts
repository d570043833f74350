import { floatDTypes, isBlocks, weightDTypes } from '@magi1/tensor';
import type { BlockDType, CaseInput, CaseOf, DType } from '@magi1/tensor';
import type { Linear } from './contract.ts';

type LinearCase = CaseOf<Linear>;

/** Weights are scaled as a trained layer's, so that outputs are of order one. */
export function linearCase(
  name: string,
  leading: readonly number[],
  [outputs, inputs]: readonly [number, number],
  dtype: DType,
  options: { bias?: boolean; benchmarkOnly?: boolean } = {},
): LinearCase {
  const bias: CaseInput = { shape: [outputs], dtype: 'f32' };
  return {
    name,
    inputs: {
      x: { shape: [...leading, inputs], dtype: 'f32' },
      weight: { shape: [outputs, inputs], dtype, fill: { kind: 'normal', scale: 1 / Math.sqrt(Math.max(inputs, 1)) } },
      ...(options.bias === true ? { bias } : {}),
    },
    params: {},
    ...(options.benchmarkOnly === true ? { benchmarkOnly: true } : {}),
  };
}

// Odd inputs make packed rows start inside a word; the sizes cross every tile edge of the kernels.
const small = floatDTypes.flatMap((dtype) => [
  linearCase(`${dtype}.oneByOne`, [1], [1, 1], dtype, { bias: true }),
  linearCase(`${dtype}.odd`, [3, 5], [7, 9], dtype),
  linearCase(`${dtype}.oddBias`, [2, 17], [37, 35], dtype, { bias: true }),
  linearCase(`${dtype}.vector`, [1], [67, 130], dtype, { bias: true }),
  linearCase(`${dtype}.fewRows`, [5], [33, 259], dtype),
  linearCase(`${dtype}.noAxes`, [], [12, 8], dtype),
  linearCase(`${dtype}.tiles`, [128], [128, 256], dtype, { bias: true }),
  linearCase(`${dtype}.pastTiles`, [131], [139, 513], dtype, { bias: true }),
]);

// Depths of whole groups; one that ends inside a slice of the kernels, one of several slices.
const BLOCKS: readonly BlockDType[] = ['q8', 'q4'];
const blocks = BLOCKS.flatMap((dtype) => [
  linearCase(`${dtype}.oneGroup`, [1], [1, 64], dtype, { bias: true }),
  linearCase(`${dtype}.odd`, [3, 5], [7, 128], dtype),
  linearCase(`${dtype}.oddBias`, [2, 17], [37, 192], dtype, { bias: true }),
  linearCase(`${dtype}.vector`, [1], [67, 320], dtype, { bias: true }),
  linearCase(`${dtype}.fewRows`, [5], [33, 576], dtype),
  linearCase(`${dtype}.noAxes`, [], [12, 64], dtype),
  linearCase(`${dtype}.tiles`, [128], [128, 256], dtype, { bias: true }),
  linearCase(`${dtype}.pastTiles`, [131], [139, 832], dtype, { bias: true }),
]);

const layer = (name: string, rows: number, shape: readonly [number, number], dtype: DType, bias = false) =>
  linearCase(name, [rows], shape, dtype, { bias, benchmarkOnly: true });

export const cases: readonly LinearCase[] = [
  ...small,
  ...blocks,
  linearCase('noInputs', [3], [4, 0], 'f32', { bias: true }),
  layer('dit4.5b.qkv', 256, [3072, 3072], 'bf16'),
  layer('dit4.5b.proj', 256, [3072, 6144], 'bf16'),
  layer('dit4.5b.fc1', 256, [12288, 3072], 'bf16'),
  layer('dit4.5b.fc2', 256, [3072, 12288], 'bf16'),
  layer('dit4.5b.fc1.f32', 256, [12288, 3072], 'f32'),
  layer('dit4.5b.fc1.f16', 256, [12288, 3072], 'f16'),
  layer('dit4.5b.fc1.f8', 256, [12288, 3072], 'f8e4m3fn'),
  layer('dit4.5b.fc1.q8', 256, [12288, 3072], 'q8'),
  layer('dit4.5b.fc1.q4', 256, [12288, 3072], 'q4'),
  layer('dit4.5b.fc2.q8', 256, [3072, 12288], 'q8'),
  layer('dit4.5b.fc2.q4', 256, [3072, 12288], 'q4'),
  layer('dit4.5b.fc1.few', 4, [12288, 3072], 'bf16'),
  layer('dit4.5b.fc1.few.q8', 4, [12288, 3072], 'q8'),
  layer('dit4.5b.fc1.few.q4', 4, [12288, 3072], 'q4'),
  layer('dit4.5b.fc1.one', 1, [12288, 3072], 'bf16'),
  layer('dit4.5b.fc1.one.q8', 1, [12288, 3072], 'q8'),
  layer('dit4.5b.fc1.one.q4', 1, [12288, 3072], 'q4'),
  layer('dit4.5b.gate', 4, [6144, 768], 'bf16', true),
  layer('dit24b.fc1', 64, [32768, 6144], 'bf16'),
  layer('t5.wi', 256, [10240, 4096], 'bf16'),
  layer('t5.wo', 256, [4096, 10240], 'bf16'),
  layer('vae.qkv', 256, [3072, 1024], 'f32', true),
  layer('vae.fc1', 256, [4096, 1024], 'f32', true),
  layer('square512', 512, [512, 512], 'f32'),
  layer('square1024', 1024, [1024, 1024], 'f32'),
];

export function randomCase(random: (below: number) => number): LinearCase {
  const [outputs, inputs] = [1 + random(70), 1 + random(90)];
  const leading = [1 + random(3), 1 + random(20)];
  const dtype = weightDTypes[random(weightDTypes.length)]!;
  const shape = [outputs, isBlocks(dtype) ? 64 * (1 + (inputs % 5)) : inputs] as const;
  return linearCase('random', leading, shape, dtype, { bias: random(2) === 1 });
}
