// What one binding of a dispatch takes of the device's limit: for the device, and for plans that imitate it.
import { OpError } from '../errors.ts';
import { describeSpec } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import type { TensorWindow } from './kernel.ts';

/** Bytes of a binding, which come in units of 16. @throws OpError when one binding of the device cannot have as many */
export function boundBytes(
  op: string,
  program: string,
  name: string,
  value: Tensor | TensorWindow,
  maxBindingBytes: number,
): number {
  const { byteLength } = value;
  const bytes = Math.max(16, Math.ceil(byteLength / 16) * 16);
  if (bytes > maxBindingBytes) {
    const spec = describeSpec(value instanceof Tensor ? value : value.tensor);
    throw new OpError(
      op,
      `binding ${name} of program ${program} (${spec}) of ${byteLength} bytes exceeds the adapter's largest binding of ` +
        `${maxBindingBytes} bytes`,
    );
  }
  return bytes;
}
