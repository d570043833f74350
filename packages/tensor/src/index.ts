export { GROUP } from './blocks.ts';
export * from './dtype.ts';
export * from './errors.ts';
export * from './shape.ts';
export { Tensor } from './tensor.ts';
export { keep, scope } from './scope.ts';
export { Device } from './device.ts';
export type { AllocationOptions, Backend, DeviceBuffer, DeviceInfo, DeviceOptions, MemoryStats } from './device.ts';
export { MetaDevice } from './meta/device.ts';
export type { MetaCounts, MetaDeviceOptions } from './meta/device.ts';
export { Check } from './check.ts';
export { defineOp, inferOutput, isOp, runOp } from './op.ts';
export type {
  AnyCase,
  AnyOp,
  AnyOpTypes,
  CaseFill,
  CaseInput,
  CaseOf,
  ContractOf,
  Cost,
  HostView,
  InputsOf,
  KernelsOf,
  NumberArray,
  Op,
  OpCall,
  OpDefinition,
  OpTypes,
  ReferenceOf,
  WasmOf,
  WebGpuOf,
} from './op.ts';
export type { HostTable, Variant } from './kernel.ts';
export { hostOutput } from './reference/device.ts';
export type {
  BindingDeclaration,
  TensorWindow,
  WebGpuCapabilities,
  WebGpuDispatch,
  WgslProgram,
} from './webgpu/kernel.ts';
export { listWebGpuAdapters } from './webgpu/adapter.ts';
export type { WebGpuDevice } from './webgpu/device.ts';
export { expandProgram, packParams, PARAMS_BYTES, programKey } from './webgpu/prelude.ts';
export type { ExpandedProgram } from './webgpu/prelude.ts';
export { chromeTrace, opTotals, profileTable } from './profile.ts';
export type { OpTime, OpTotal, Profile, ProfileClock, StageTime } from './profile.ts';
export { wasmKernel, F32, F32x4, F64, I16x8, I32, I32x4, I8x16 } from './wasm/emitter.ts';
export type {
  AnyValue,
  AnyVector,
  KernelArgs,
  KernelBuilder,
  LoopControl,
  ValueKind,
  ValueOf,
  Var,
  WasmFunction,
} from './wasm/emitter.ts';
export type { WasmDevice } from './wasm/device.ts';
export type { WasmFeatures, WasmKernel, WasmStep } from './wasm/kernel.ts';
export { machineMemory } from './machine-memory.ts';
export type { MachineMemory } from './machine-memory.ts';
export { processPeakBytes } from './process-memory.ts';
export { yieldToEventLoop } from './queue.ts';
