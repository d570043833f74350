// Rows looked up by token, the table staying where it is stored.
import type { Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';
import type { StoredRows } from './stored-rows.ts';

export class StoredEmbedding extends Module {
  readonly weight: StoredRows;

  constructor(p: Params, rows: number, width: number) {
    super(p);
    this.weight = p.rows('weight', [rows, width]);
  }

  /** Token ids [length] -> f32 [length, width]; the caller disposes it. */
  forward(ids: ArrayLike<number>): Promise<Tensor> {
    return this.weight.lookUp(ids);
  }
}
