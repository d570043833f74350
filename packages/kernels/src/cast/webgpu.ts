// WGSL of cast: four elements per invocation. The last four may lie partly in the padding of both buffers.
import { bytesOf, isFloat } from '@magi1/tensor';
import type { DType, FloatDType, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { decodeFour } from '../support/wgsl/decode.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { encodeFour } from '../support/wgsl/encode.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Cast } from './contract.ts';
import { webgpuQ8 } from './q8.ts';

type CastVariant = { readonly source: DType; readonly target: DType };

interface Four {
  readonly type: string;
  readonly code: string;
}

/** What holds four elements, by their bytes. */
const WORDS: Readonly<Record<number, string>> = { 4: 'u32', 8: 'vec2u', 16: 'vec4u' };

function decoder(dtype: DType): Four {
  if (isFloat(dtype)) return decodeFour(dtype);
  const type = dtype === 'i32' ? 'vec4i' : WORDS[bytesOf(dtype, 4)]!;
  const value = type === 'u32' ? '(vec4u(v) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u)' : 'v';
  return { type, code: `fn decode4(v: ${type}) -> vec4f { return vec4f(${value}); }` };
}

function codes({ source, target }: CastVariant): { decode: Four; encode: Four; value: string } {
  if (source === target) {
    const same = { type: WORDS[bytesOf(source, 4)]!, code: '' };
    return { decode: same, encode: same, value: 'x[i]' };
  }
  const [decode, encode] = [decoder(source), encodeFour(target as FloatDType)];
  return { decode, encode, value: 'encode4(bitcast<vec4u>(decode4(x[i])))' };
}

const program: WgslProgram<CastVariant> = {
  name: 'cast',
  bindings(variant) {
    const { decode, encode } = codes(variant);
    return [
      { name: 'x', type: `array<${decode.type}>`, access: 'read' },
      { name: 'y', type: `array<${encode.type}>`, access: 'read_write' },
    ];
  },
  params: { quads: 'u32' },
  source(variant) {
    const { decode, encode, value } = codes(variant);
    return /* wgsl */ `
${WORKGROUP_INDEX}
${decode.code}
${encode.code}
${MAIN}
  if (i < params.quads) { y[i] = ${value}; }
}
`;
  },
};

export const webgpu: WebGpuOf<Cast> = (call, capabilities) => {
  const {
    inputs: { x },
    y,
    params: { to },
  } = call;
  if (to === 'q8') return webgpuQ8(call, capabilities);
  const operands = { x: [x, bytesOf(x.dtype, 4)], y: [y, bytesOf(to, 4)] } as const;
  return rowRanges('cast', Math.ceil(x.size / 4), operands, capabilities).map((range) => ({
    program,
    variant: { source: x.dtype, target: to },
    bindings: range.bindings,
    params: { quads: range.count },
    workgroups: gridOf('cast', range.count, capabilities),
  }));
};
