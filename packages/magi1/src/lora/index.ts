// LoRA: low-rank changes of linear layers, applied at run time or fused into the weights.
export { LoraSet, loraNotes } from './lora-set.ts';
export type { AttachOptions, FuseLoraOptions, LoadLoraOptions, LoraChoice, LoraInfo, LoraSpec } from './lora-set.ts';
export type { LoraSource } from './read-lora.ts';
