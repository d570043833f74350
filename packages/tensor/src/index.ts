export * from './dtype.ts';
export * from './errors.ts';
export * from './shape.ts';
export { Tensor } from './tensor.ts';
export { keep, scope } from './scope.ts';
export { Device } from './open.ts';
export type { DeviceOptions } from './open.ts';
export type { AllocationOptions, Backend, DeviceBuffer, DeviceInfo, MemoryStats } from './device.ts';
export { defineOp, isOp, runOp } from './op.ts';
export type {
  AnyOp,
  CaseFill,
  CaseInput,
  Cost,
  HostOutput,
  HostView,
  NumberArray,
  Op,
  OpCall,
  OpCase,
  OpDefinition,
  OpInputs,
} from './op.ts';
export { hostOutput } from './reference/device.ts';
export type {
  BindingDeclaration,
  HostTable,
  TensorWindow,
  Variant,
  WebGpuCapabilities,
  WebGpuDispatch,
  WgslProgram,
} from './webgpu/kernel.ts';
export type { WasmKernel, WasmStep } from './wasm/kernel.ts';
export { yieldToEventLoop } from './queue.ts';
