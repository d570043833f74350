#!/usr/bin/env node
// The `magi1` command: the built program. From Node 22.8 on its compiled code is kept for the next start.
import { statSync } from 'node:fs';
import module from 'node:module';

module.enableCompileCache?.();
const changed = (path) => statSync(new URL(path, import.meta.url), { throwIfNoEntry: false })?.mtimeMs;
const bundled = changed('../dist/bundle/main.js') ?? -Infinity;
// What the compiler last wrote in a clone; installed packages are without, and their bundle is of what they hold.
const compiled = ['magi1', 'loaders', 'kernels', 'tensor'].map(
  (name) => changed(`../../${name}/dist/.tsbuildinfo`) ?? 0,
);
await import(bundled >= Math.max(...compiled) ? '../dist/bundle/main.js' : '../dist/cli/main.js');
