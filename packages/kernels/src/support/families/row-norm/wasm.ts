// One wasm kernel for layerNorm, rmsNorm, qkNorm and gatedResidual; an item is a row. Its formulas are those of
// webgpu.ts.
import { F32, wasmKernel } from '@magi1/tensor';
import type { I32, WasmStep } from '@magi1/tensor';
import { normVariant } from './call.ts';
import type { NormVariant, RowNormCall } from './call.ts';
import { forVectors, sumVectors } from '../../wasm/vectors.ts';

const kernel = wasmKernel({
  name: 'rowNorm',
  args: {
    x: 'ptr',
    y: 'ptr',
    weight: 'ptr',
    bias: 'ptr',
    gate: 'ptr',
    h: 'ptr',
    features: 'i32',
    rowsPerGate: 'i32',
    eps: 'f32',
  },
  body(k, args, variant: NormVariant) {
    const { features, eps } = args;
    const rowBytes = k.let(features.shl(2));
    const count = k.let(features.toF32U());
    k.forRange(args.begin, args.end, 1, (row) => {
      const start = k.let(row.mul(rowBytes));
      const x = k.let(args.x.add(start));
      const y = k.let(args.y.add(start));
      const h = k.let(args.h.add(start));
      const gate = k.let(args.gate.add(row.divU(args.rowsPerGate).mul(rowBytes)));
      const load = (at: I32) =>
        k.let(variant.gated ? x.add(at).loadF32x4().mul(gate.add(at).loadF32x4()) : x.add(at).loadF32x4());
      const sums = (origin: F32) => {
        const from = k.let(origin.splat());
        const terms = (at: I32) => {
          const d = k.let(load(at).sub(from));
          return [d, d.mul(d)];
        };
        return sumVectors(k, features, terms, 2).map((sum) => k.let(sum.div(count))) as [F32, F32];
      };
      const [mean] = variant.kind === 'rms' ? [F32.of(0)] : sums(F32.of(0));
      // The mean of the deviations is what rounding took from the mean.
      const [first, second] = sums(mean);
      const rest = variant.kind === 'rms' ? F32.of(0) : first;
      const variance = k.let(second.sub(rest.mul(rest)).max(0));
      const root = variant.kind === 'std' ? variance.sqrt().add(eps) : variance.add(eps).sqrt();
      const scale = k.let(F32.of(1).div(root).splat());
      const [meanLanes, restLanes] = [k.let(mean.splat()), k.let(rest.splat())];
      forVectors(k, features, (at, put) => {
        let value = load(at).sub(meanLanes).sub(restLanes).mul(scale);
        if (variant.weight === 'weight') value = value.mul(args.weight.add(at).loadF32x4());
        if (variant.weight === 'onePlusWeight') value = value.mul(args.weight.add(at).loadF32x4().add(1));
        if (variant.bias) value = value.add(args.bias.add(at).loadF32x4());
        if (variant.gated) value = value.add(h.add(at).loadF32x4());
        put(y.add(at), value);
      });
    });
  },
});

export function rowNormSteps(call: RowNormCall): readonly WasmStep[] {
  const { x, y, weight, bias, eps, gated } = call;
  const features = x.shape.at(-1)!;
  return [
    {
      kernel,
      variant: normVariant(call),
      // Arguments that the variant does not read get some address.
      args: {
        x,
        y,
        weight: weight ?? x,
        bias: bias ?? x,
        gate: gated?.gate ?? x,
        h: gated?.h ?? x,
        features,
        rowsPerGate: gated?.rowsPerGate ?? 1,
        eps,
      },
      items: x.size / features,
      itemCost: 10 * features,
    },
  ];
}
