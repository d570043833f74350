// Splitting tensors that are larger than one binding.
import { Magi1Error } from '../errors.ts';
import { describeSpec } from '../shape.ts';
import type { Tensor } from '../tensor.ts';
import type { TensorWindow, WebGpuCapabilities } from './kernel.ts';

/** Rows `row` .. `row + rows` of a tensor's first axis as one binding. */
export interface RowWindow {
  readonly row: number;
  readonly rows: number;
  readonly window: TensorWindow;
}

const ALIGNMENT = 256;

/**
 * The tensor as windows of whole rows, each within one binding and starting at a multiple of 256 bytes; one window when
 * it fits. Throws Magi1Error when even one aligned group of rows is too large.
 */
export function rowWindows(tensor: Tensor, capabilities: WebGpuCapabilities): RowWindow[] {
  const rows = tensor.shape[0] ?? 1;
  const { byteLength } = tensor;
  if (byteLength <= capabilities.maxBindingBytes) {
    return [{ row: 0, rows, window: { tensor, byteStart: 0, byteLength } }];
  }
  const rowBytes = byteLength / rows;
  // The fewest rows whose bytes are a multiple of the alignment.
  let group = 1;
  while ((group * rowBytes) % ALIGNMENT !== 0) group *= 2;
  const step = Math.floor(capabilities.maxBindingBytes / (group * rowBytes)) * group;
  if (step === 0) {
    throw new Magi1Error(
      `${describeSpec(tensor)}: ${group} rows of ${rowBytes} bytes exceed one binding of ${capabilities.maxBindingBytes} bytes`,
    );
  }
  const windows: RowWindow[] = [];
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    windows.push({ row, rows: count, window: { tensor, byteStart: row * rowBytes, byteLength: count * rowBytes } });
  }
  return windows;
}
