// Ops with bindings as small as can be.
import { OpError } from '../errors.ts';
import type { AnyOp, OpCall } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import type { WebGpuCapabilities, WebGpuDispatch } from '../webgpu/kernel.ts';

/** Bytes that one binding shows of a tensor; nothing of a host table. */
export function shown(value: WebGpuDispatch['bindings'][string]): { tensor: Tensor; byteLength: number } | undefined {
  if (ArrayBuffer.isView(value)) return undefined;
  return { tensor: 'tensor' in value ? value.tensor : value, byteLength: value.byteLength };
}

/** The dispatches of a call for the smallest limit, in powers of two from 256 bytes on, to which the op can cut it. */
export function smallestPieces(op: AnyOp, call: OpCall, capabilities: WebGpuCapabilities): readonly WebGpuDispatch[] {
  for (let maxBindingBytes = 256; ; maxBindingBytes *= 2) {
    try {
      const dispatches = op.webgpu!(call, { ...capabilities, maxBindingBytes });
      const isTooLong = ({ bindings }: WebGpuDispatch) =>
        Object.values(bindings).some((value) => (shown(value)?.byteLength ?? 0) > maxBindingBytes);
      if (!dispatches.some(isTooLong)) return dispatches;
    } catch (error) {
      if (!(error instanceof OpError) || maxBindingBytes >= capabilities.maxBindingBytes) throw error;
    }
  }
}
