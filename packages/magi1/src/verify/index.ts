// @magi1/core/verify: finds goldens and runs them.
export { findGoldens, runCase, verify } from './run.ts';
export type { CaseResult, Goldens, VerifyOptions, VerifyResult } from './run.ts';
