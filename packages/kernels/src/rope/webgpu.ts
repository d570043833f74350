// WGSL of rope: an invocation makes one quad of the output, or one element where rows are not made of quads.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { valueType } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Rope } from './contract.ts';

const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'rope',
  bindings({ wide }) {
    const type = wide ? 'array<vec4f>' : 'array<f32>';
    return [
      { name: 'x', type, access: 'read' },
      { name: 'cosines', type, access: 'read' },
      { name: 'sines', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ];
  },
  // All counted in values of T.
  params: { size: 'u32', heads: 'u32', features: 'u32', columns: 'u32' },
  source: ({ wide }) => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
${MAIN}
  if (i >= params.size) { return; }
  let row = i / params.features;
  let feature = i - row * params.features;
  let value = x[i];
  if (feature >= 2u * params.columns) {
    y[i] = value;
    return;
  }
  let angles = row / params.heads * params.columns;
  if (feature < params.columns) {
    y[i] = value * cosines[angles + feature] - x[i + params.columns] * sines[angles + feature];
  } else {
    let column = feature - params.columns;
    y[i] = x[i - params.columns] * sines[angles + column] + value * cosines[angles + column];
  }
}
`,
};

export const webgpu: WebGpuOf<Rope> = ({ inputs: { x, cos, sin }, y }, capabilities) => {
  const [tokens, heads, features] = x.shape as [number, number, number];
  const columns = cos.shape[1]!;
  const wide = features % 4 === 0 && columns % 4 === 0;
  const unit = wide ? 4 : 1;
  const [tokenBytes, angleBytes] = [4 * heads * features, 4 * columns];
  const rowBytes = columns === 0 ? [tokenBytes] : [tokenBytes, angleBytes];
  return rowRanges('rope', tokens, rowBytes, capabilities).map((range) => {
    const size = (range.count * heads * features) / unit;
    return {
      program,
      variant: { wide },
      bindings: {
        x: range.window(x, tokenBytes),
        cosines: range.window(cos, angleBytes),
        sines: range.window(sin, angleBytes),
        y: range.window(y, tokenBytes),
      },
      params: { size, heads, features: features / unit, columns: columns / unit },
      workgroups: gridOf('rope', size, capabilities),
    };
  });
};
