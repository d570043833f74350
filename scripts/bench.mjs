// npm run bench [-- arguments of benchmarks/index.ts]
import { runCompiled } from './compiled.mjs';

/** @param {readonly string[]} args */
export const main = (args) => runCompiled('benchmarks', ['--expose-gc'], args);
