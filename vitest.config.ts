import { defineConfig } from 'vitest/config';

// Tests read the TypeScript sources: the `magi1-source` export condition of every workspace package.
const conditions = ['magi1-source', 'node', 'import', 'module', 'default'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'tests/**/*.test.ts', 'scripts/**/*.test.mjs', 'benchmarks/*.test.ts'],
    globalSetup: ['scripts/adapter.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
