// In which type a model is run.
import type { Magi1Config } from './parse.ts';

/**
 * That of a config's `params_dtype`: matrices are shipped in it, and the original keeps keys and values in it. Models whose
 * numbers are to be those of f32 say torch.float32, however their weights are stored.
 */
export function paramsDType({
  model_config: { params_dtype },
}: Pick<Magi1Config, 'model_config'>): 'bf16' | 'f16' | 'f32' {
  return ({ 'torch.bfloat16': 'bf16', 'torch.float16': 'f16', 'torch.float32': 'f32' } as const)[params_dtype];
}
