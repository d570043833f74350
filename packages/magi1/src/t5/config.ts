// The fields of a T5 config.json that the encoder needs.
import { Magi1Error } from '@magi1/tensor';

export interface T5Config {
  readonly d_model: number;
  readonly d_kv: number;
  readonly num_heads: number;
  readonly d_ff: number;
  readonly num_layers: number;
  readonly vocab_size: number;
  readonly relative_attention_num_buckets: number;
  readonly relative_attention_max_distance: number;
  readonly layer_norm_epsilon: number;
}

/** The text encoder that goes with the published models: T5 v1.1 XXL. Shipped as f32. */
export const PUBLISHED_T5: T5Config = {
  d_model: 4096,
  d_kv: 64,
  num_heads: 64,
  d_ff: 10240,
  num_layers: 24,
  vocab_size: 32128,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
};

/** Reads and checks a T5 v1.1 config; `source` names the file in errors. */
export function parseT5Config(json: unknown, source: string): T5Config {
  if (typeof json !== 'object' || json === null) throw new Magi1Error(`${source}: a T5 config must be a JSON object`);
  const fields = json as Readonly<Record<string, unknown>>;
  /** Bounds are far beyond any model: a list of weights is made of these before a file can contradict them. */
  const integer = (name: string, fallback?: number, most = 1 << 20): number => {
    const value = fields[name] ?? fallback;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > most) {
      throw new Magi1Error(`${source}: ${name} must be a positive integer up to ${most}, got ${JSON.stringify(value)}`);
    }
    return value as number;
  };
  const projection = fields.feed_forward_proj;
  if (projection !== 'gated-gelu') {
    throw new Magi1Error(
      `${source}: feed_forward_proj must be "gated-gelu" (T5 v1.1), got ${JSON.stringify(projection)}`,
    );
  }
  const epsilon = fields.layer_norm_epsilon ?? 1e-6;
  if (typeof epsilon !== 'number' || !(epsilon >= 0)) {
    throw new Magi1Error(`${source}: layer_norm_epsilon must be a number, got ${JSON.stringify(epsilon)}`);
  }
  return {
    d_model: integer('d_model'),
    d_kv: integer('d_kv'),
    num_heads: integer('num_heads'),
    d_ff: integer('d_ff'),
    num_layers: integer('num_layers', undefined, 512),
    vocab_size: integer('vocab_size', undefined, 1 << 24),
    relative_attention_num_buckets: integer('relative_attention_num_buckets', 32),
    relative_attention_max_distance: integer('relative_attention_max_distance', 128),
    layer_norm_epsilon: epsilon,
  };
}
