export { firstDifference, type VerifyResult } from './json-difference.ts';
export { verifyScheduler } from './scheduler.ts';
export { verifySpecialTokens } from './special-tokens.ts';
