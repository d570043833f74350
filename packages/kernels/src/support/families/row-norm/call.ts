// What layerNorm, rmsNorm, qkNorm and gatedResidual have in common: one normalisation of rows and its variants.
import type { Tensor } from '@magi1/tensor';

export interface RowNormCall {
  readonly op: string;
  /** `layer`: mean and variance. `std`: eps is added to the standard deviation. `rms`: no mean. */
  readonly kind: 'layer' | 'std' | 'rms';
  /** Any leading axes; the last one is normalised. */
  readonly x: Tensor;
  readonly y: Tensor;
  readonly weight?: Tensor | undefined;
  readonly bias?: Tensor | undefined;
  readonly onePlusWeight?: boolean;
  readonly eps: number;
  /** The rows are gate * x, and h is added to the result. */
  readonly gated?: { readonly gate: Tensor; readonly h: Tensor; readonly rowsPerGate: number };
}

export type NormVariant = {
  readonly kind: RowNormCall['kind'];
  readonly gated: boolean;
  readonly weight: 'none' | 'weight' | 'onePlusWeight';
  readonly bias: boolean;
};

export function normVariant({ kind, gated, weight, bias, onePlusWeight = false }: RowNormCall): NormVariant {
  return {
    kind,
    gated: gated !== undefined,
    weight: weight === undefined ? 'none' : onePlusWeight ? 'onePlusWeight' : 'weight',
    bias: bias !== undefined,
  };
}
