// A product of matrices as linear and matmul describe it to the kernels.
import type { Tensor } from '@magi1/tensor';

/** `rows`: b is [columns, depth] of any weight dtype. `columns`: b is [depth, columns] in f32. */
export type BLayout = 'rows' | 'columns';

export interface Gemm {
  readonly op: string;
  /** [rows, depth] f32. */
  readonly a: Tensor;
  readonly b: Tensor;
  readonly layout: BLayout;
  readonly bias: Tensor | undefined;
  /** [rows, columns] f32. */
  readonly y: Tensor;
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}
