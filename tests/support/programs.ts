// The WGSL programs and wasm kernels that the case tables of ops lead to, found without any adapter.
import { MetaDevice, expandProgram, inferOutput, programKey, scope } from '@magi1/tensor';
import type {
  AnyCase,
  AnyOp,
  CaseInput,
  ExpandedProgram,
  OpCall,
  Tensor,
  WasmStep,
  WebGpuCapabilities,
  WebGpuDispatch,
} from '@magi1/tensor';
import { smallestPieces } from '@magi1/tensor/checks';

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

/** What `plan` makes of a case's call on tensors without memory; nothing for outputs without elements. */
function planCall<T>(op: AnyOp, opCase: AnyCase, plan: (call: OpCall) => readonly T[]): readonly T[] {
  const device = new MetaDevice({ as: 'reference' });
  let planned: readonly T[] = [];
  scope(() => {
    const inputs: Record<string, Tensor> = {};
    for (const [name, input] of Object.entries(opCase.inputs as Record<string, CaseInput | undefined>)) {
      if (input !== undefined) inputs[name] = device.empty(input.shape, input.dtype);
    }
    const { shape, dtype } = inferOutput(op, opCase.inputs, opCase.params);
    const y = device.empty(shape, dtype);
    if (y.size > 0) planned = plan({ inputs, y, params: opCase.params as unknown });
  });
  return planned;
}

/** The dispatches of one case; nothing is computed. */
export function planCase(op: AnyOp, opCase: AnyCase, capabilities: WebGpuCapabilities): readonly PlannedDispatch[] {
  return planCall(op, opCase, (call) => planned(op, opCase, op.webgpu?.(call, capabilities) ?? []));
}

const planned = (op: AnyOp, opCase: AnyCase, dispatches: readonly WebGpuDispatch[]): PlannedDispatch[] =>
  dispatches.map((dispatch) => ({
    op: op.name,
    opCase,
    dispatch,
    expanded: expandProgram(dispatch.program, dispatch.variant),
  }));

/** One wasm step of every (kernel, variant) of the op's table, keyed by name and variant. */
export function wasmStepsOf(op: AnyOp): Map<string, WasmStep> {
  const found = new Map<string, WasmStep>();
  for (const opCase of op.cases as readonly AnyCase[]) {
    for (const step of planCall(op, opCase, (call) => op.wasm?.(call) ?? [])) {
      found.set(programKey(step.kernel, step.variant), step);
    }
  }
  return found;
}

/**
 * One dispatch of every (program, variant) of the op's table, tests before benchmarks, keyed by name and variant; of those
 * that need small bindings, one of an ordinary case cut to pieces.
 */
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
  for (const opCase of cases.filter(({ benchmarkOnly }) => op.webgpu !== undefined && benchmarkOnly !== true)) {
    for (const kind of capabilities) {
      for (const part of planCall(op, opCase, (call) => planned(op, opCase, smallestPieces(op, call, kind)))) {
        if (!found.has(part.expanded.key)) found.set(part.expanded.key, part);
      }
    }
  }
  return found;
}
