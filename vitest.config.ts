import { defineConfig } from 'vitest/config';

// Tests read the TypeScript sources: the `magi1-source` export condition of every workspace package.
const conditions = ['magi1-source', 'node', 'import', 'module', 'default'];

const include = [
  'packages/*/src/**/*.test.ts',
  'tests/**/*.test.ts',
  'scripts/**/*.test.mjs',
  'benchmarks/*.test.ts',
  'evaluation/**/*.test.ts',
];
const TIMED = 'tests/compile-time.test.ts';
// Left out whole where there is to be no WebGPU: nothing in these could fail then. Other files leave out some devices.
const WEBGPU_ONLY =
  process.env['MAGI1_NO_WEBGPU'] === '1'
    ? [TIMED, 'tests/*-webgpu.test.ts', 'packages/tensor/src/webgpu/runtime.test.ts']
    : [];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    globalSetup: ['scripts/adapter.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: { name: 'tests', include, exclude: [TIMED, ...WEBGPU_ONLY], sequence: { groupOrder: 0 } },
      },
      // Measures CPU time: it runs when nothing else does.
      { extends: true, test: { name: 'timed', include: [TIMED], exclude: WEBGPU_ONLY, sequence: { groupOrder: 1 } } },
    ],
  },
});
