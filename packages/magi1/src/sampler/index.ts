export * from './guidance.ts';
export * from './key-ranges.ts';
export * from './noise.ts';
export * from './options.ts';
export * from './schedule.ts';
export * from './stages.ts';
export * from './timesteps.ts';
export * from './sample.ts';
