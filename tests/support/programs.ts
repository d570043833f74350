// The WGSL programs that the case tables of ops lead to, found without any adapter.
import { elementCount } from '@magi1/tensor';
import type { AnyOp, CaseInput, ExpandedProgram, Tensor, WebGpuCapabilities, WebGpuDispatch } from '@magi1/tensor';
import { Device } from '../../packages/tensor/src/device.ts';
import type { DeviceBuffer } from '../../packages/tensor/src/device.ts';
import { scope } from '../../packages/tensor/src/scope.ts';
import { expandProgram } from '../../packages/tensor/src/webgpu/prelude.ts';
import type { AnyCase } from './op-cases.ts';

/** A device without memory: tensors on it have shapes only. */
class PlanDevice extends Device {
  readonly backend = 'reference';
  readonly info = { name: 'plan', reason: 'test', features: [], limits: {} };
  protected override allocate(byteLength: number): DeviceBuffer {
    return { byteLength };
  }
  protected override release(): void {
    // Nothing is held.
  }
  protected override reservedBytes(): number {
    return 0;
  }
  override execute(): never {
    throw new Error('a plan runs nothing');
  }
  override writeBuffer(): never {
    throw new Error('a plan runs nothing');
  }
  override readBuffer(): never {
    throw new Error('a plan runs nothing');
  }
  override copyBuffer(): never {
    throw new Error('a plan runs nothing');
  }
  override sync(): Promise<void> {
    return Promise.resolve();
  }
  override tick(): Promise<void> {
    return Promise.resolve();
  }
  override trim(): void {
    // Nothing is held.
  }
  override dispose(): Promise<void> {
    return Promise.resolve();
  }
}

const common = {
  maxWorkgroupsPerDimension: 65535,
  maxBindingBytes: 2 ** 27,
  maxInvocations: 256,
  maxWorkgroupBytes: 16384,
};

/** The kinds of adapters that ops choose programs for. */
export const CAPABILITIES: Readonly<Record<string, WebGpuCapabilities>> = {
  lavapipe: { ...common, shaderF16: true, subgroups: true, subgroupMinSize: 8, subgroupMaxSize: 8, software: true },
  swiftShader: { ...common, shaderF16: false, subgroups: true, subgroupMinSize: 4, subgroupMaxSize: 4, software: true },
  browserFallback: {
    ...common,
    shaderF16: false,
    subgroups: false,
    subgroupMinSize: 0,
    subgroupMaxSize: 0,
    software: true,
  },
  gpu: { ...common, shaderF16: true, subgroups: true, subgroupMinSize: 32, subgroupMaxSize: 32, software: false },
  oldGpu: { ...common, shaderF16: false, subgroups: false, subgroupMinSize: 0, subgroupMaxSize: 0, software: false },
};

export interface PlannedDispatch {
  readonly op: string;
  readonly opCase: AnyCase;
  readonly dispatch: WebGpuDispatch;
  readonly expanded: ExpandedProgram;
}

/** The dispatches of one case; nothing is computed. */
export function planCase(op: AnyOp, opCase: AnyCase, capabilities: WebGpuCapabilities): PlannedDispatch[] {
  if (op.webgpu === undefined) return [];
  const device = new PlanDevice();
  let planned: PlannedDispatch[] = [];
  scope(() => {
    const inputs: Record<string, Tensor> = {};
    for (const [name, input] of Object.entries(opCase.inputs as Record<string, CaseInput | undefined>)) {
      if (input !== undefined) inputs[name] = device.empty(input.shape, input.dtype);
    }
    const outputs = op.infer(opCase.inputs, opCase.params).map((spec) => device.empty(spec.shape, spec.dtype));
    if (outputs.every((output) => elementCount(output.shape) === 0)) return;
    planned = op.webgpu!({ inputs, outputs, params: opCase.params as unknown }, capabilities).map((dispatch) => ({
      op: op.name,
      opCase,
      dispatch,
      expanded: expandProgram(dispatch.program, dispatch.variant),
    }));
  });
  return planned;
}

/** One dispatch of every (program, variant) of the op's table, tests before benchmarks, keyed by name and variant. */
export function programsOf(op: AnyOp, capabilities: readonly WebGpuCapabilities[]): Map<string, PlannedDispatch> {
  const found = new Map<string, PlannedDispatch>();
  const cases = [...(op.cases as readonly AnyCase[])].sort(
    (a, b) => Number(a.benchmarkOnly ?? false) - Number(b.benchmarkOnly ?? false),
  );
  for (const opCase of cases) {
    for (const kind of capabilities) {
      for (const planned of planCase(op, opCase, kind)) {
        if (!found.has(planned.expanded.key)) found.set(planned.expanded.key, planned);
      }
    }
  }
  return found;
}
