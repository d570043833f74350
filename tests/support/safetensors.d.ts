// The npm package has no types; what the cross-check uses of it.
declare module 'safetensors' {
  export class SafeTensor {
    constructor(bytes: Uint8Array);
    readonly metadata: Map<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
    getTensor(name: string): Uint8Array;
  }
}
