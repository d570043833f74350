import type { OpCase } from '@magi1/tensor';
import type { MatmulParams } from './index.ts';

type MatmulCase = OpCase<'a' | 'b', never, MatmulParams>;

function matmulCase(name: string, [m, k, n]: readonly [number, number, number], benchmarkOnly = false): MatmulCase {
  return {
    name,
    inputs: { a: { shape: [m, k], dtype: 'f32' }, b: { shape: [k, n], dtype: 'f32' } },
    params: {},
    ...(benchmarkOnly ? { benchmarkOnly } : {}),
  };
}

export const cases: readonly MatmulCase[] = [
  matmulCase('oneByOne', [1, 1, 1]),
  matmulCase('noInner', [3, 0, 5]),
  matmulCase('odd', [7, 5, 3]),
  matmulCase('vector', [1, 67, 45]),
  matmulCase('column', [45, 67, 1]),
  matmulCase('tiles', [128, 64, 128]),
  matmulCase('pastTiles', [131, 261, 139]),
  matmulCase('512', [512, 512, 512], true),
  matmulCase('1024', [1024, 1024, 1024], true),
  matmulCase('256x4096x1024', [256, 4096, 1024], true),
];

export const randomCase = (random: (below: number) => number): MatmulCase =>
  matmulCase('random', [1 + random(60), 1 + random(90), 1 + random(70)]);
