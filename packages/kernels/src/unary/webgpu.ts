// WGSL of the elementwise functions: one element per invocation.
import type { OpDefinition, WgslProgram } from '@magi1/tensor';
import { WORKGROUP_INDEX, foldWorkgroups } from '../support/wgsl.ts';
import type { UnaryParams } from './index.ts';
import type { UnaryKind } from './reference.ts';

// tanh overflows to NaN for large arguments on some drivers: arguments are clamped where tanh is 1 in f32.
const BODIES: Record<UnaryKind, string> = {
  silu: 'return v / (1.0 + exp(-v));',
  geluErf: 'return 0.5 * v * (1.0 + erf(v * 0.7071067811865476));',
  geluTanh: 'return 0.5 * v * (1.0 + tanh(clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), -15.0, 15.0)));',
  tanh: 'return tanh(clamp(v, -15.0, 15.0));',
};

// Abramowitz-Stegun 7.1.26 is too coarse; this is a Taylor-like odd polynomial below 1 and erfc by a rational in t above.
export const ERF = /* wgsl */ `
fn erf(v: f32) -> f32 {
  let a = abs(v);
  let t = 1.0 / (1.0 + 0.5 * a);
  let p = -a * a - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return sign(v) * (1.0 - t * exp(p));
}
`;

const program: WgslProgram<{ kind: UnaryKind }> = {
  name: 'unary',
  bindings: () => [
    { name: 'x', type: 'array<f32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32' },
  source: ({ kind }) => /* wgsl */ `
${WORKGROUP_INDEX}
${kind === 'geluErf' ? ERF : ''}
fn apply(v: f32) -> f32 { ${BODIES[kind]} }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.size) { y[i] = apply(x[i]); }
}
`,
};

export const webgpu: NonNullable<OpDefinition<'x', never, UnaryParams>['webgpu']> = (
  { inputs: { x }, outputs, params },
  capabilities,
) => [
  {
    program,
    variant: { kind: params.kind },
    bindings: { x, y: outputs[0]! },
    params: { size: x.size },
    workgroups: foldWorkgroups('unary', Math.ceil(x.size / 64), capabilities),
  },
];
