// The package's types for compilers before TypeScript 6, whose DOM library lacks WebGPU; later ones would have it twice.
/// <reference types="@webgpu/types" preserve="true" />
export * from './index.ts';
