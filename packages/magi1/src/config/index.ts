export * from './schema.ts';
export * from './parse.ts';
export * from './environment.ts';
export * from './latents.ts';
export * from './params-dtype.ts';
