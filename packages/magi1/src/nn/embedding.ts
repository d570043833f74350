// Rows looked up by token.
import { embedding } from '@magi1/kernels';
import type { Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';

/** ids i32 [length] -> f32 [length, width]. */
export class Embedding extends Module {
  readonly weight: Tensor;

  constructor(p: Params, rows: number, width: number) {
    super(p);
    this.weight = p.table('weight', [rows, width]);
  }

  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight);
  }
}
