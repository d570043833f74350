export * from './special-tokens.ts';
export * from './text-conditioning.ts';
