// Where the original keeps weights, below the folders that its config names.
import type { EngineConfig } from './schema.ts';

/** The original's folder for the weights of one kind of checkpoint, below `load`. */
export function weightFolder({ distill, fp8_quant }: EngineConfig): string {
  return `inference_weight${fp8_quant ? '.fp8' : ''}${distill ? '.distill' : ''}`;
}

export const T5_FOLDER = 't5-v1_1-xxl';
