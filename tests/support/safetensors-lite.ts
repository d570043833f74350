// Reads a small, trusted safetensors file whole: 8-byte header length, JSON header, raw little-endian data.
import { readFileSync } from 'node:fs';
import { viewBytes, type DType, type HostTensor } from '@magi1/tensor';

const DTYPES: Readonly<Record<string, DType>> = {
  F32: 'f32',
  F16: 'f16',
  BF16: 'bf16',
  F8_E4M3: 'f8e4m3fn',
  I32: 'i32',
  U8: 'u8',
};

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}

/** All tensors of a file by name. */
export function readSafetensors(path: string): Map<string, HostTensor> {
  const bytes = new Uint8Array(readFileSync(path));
  const dataStart = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, dataStart))) as Record<string, Entry>;
  const tensors = new Map<string, HostTensor>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const known = DTYPES[dtype];
    if (!known) throw new Error(`${path}: ${name} has dtype ${dtype}`);
    tensors.set(name, {
      dtype: known,
      shape,
      data: viewBytes(known, bytes.subarray(dataStart + offsets[0], dataStart + offsets[1])),
    });
  }
  return tensors;
}
