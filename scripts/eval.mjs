// npm run -s eval [-- arguments of evaluation/index.ts]
import { runCompiled } from './compiled.mjs';

/** @param {readonly string[]} args */
export const main = (args) => runCompiled('evaluation', [], args);
