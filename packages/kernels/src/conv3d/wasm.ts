// wasm conv3d; an item is one row of the output for up to four filters, eight positions at a time.
import { F32x4, I32x4, bytesOf, wasmKernel } from '@magi1/tensor';
import type { FloatDType, I32, KernelBuilder, Var, WasmOf } from '@magi1/tensor';
import { loadFloats } from '../support/wasm/floats.ts';
import { storeLanes } from '../support/wasm/vectors.ts';
import { filtersTogether } from './contract.ts';
import type { Conv3d } from './contract.ts';

type ConvVariant = {
  readonly dtype: FloatDType;
  readonly bias: boolean;
  readonly filters: number;
  readonly unitStride: boolean;
  /** Width of the kernel when it is small enough to unroll, else 0. */
  readonly columns: number;
};

const MOST_COLUMNS = 4;

const NAMES = [
  ...(['channels', 'frames', 'height', 'width', 'outFrames', 'outHeight', 'outWidth', 'filters'] as const),
  ...(['kernelT', 'kernelH', 'kernelW', 'strideT', 'strideH', 'strideW', 'padT', 'padH', 'padW'] as const),
];
type Name = (typeof NAMES)[number];

const sizeArgs = Object.fromEntries(NAMES.map((name) => [name, 'i32'])) as Record<Name, 'i32'>;

const kernel = wasmKernel({
  name: 'conv3d',
  args: { x: 'ptr', weight: 'ptr', bias: 'ptr', y: 'ptr', ...sizeArgs },
  body(k, a, { dtype, bias, filters, unitStride, columns }: ConvVariant) {
    const bytes = bytesOf(dtype, 1);
    const kernelSize = k.let(a.kernelT.mul(a.kernelH).mul(a.kernelW));
    const filterSize = k.let(a.channels.mul(kernelSize));
    const blocks = k.let(a.filters.divU(filters));
    const plane = k.let(a.outFrames.mul(a.outHeight).mul(a.outWidth));
    const limit = k.let(a.width.splat());
    const stepBytes = k.let(a.strideW.shl(2));
    const lanes = k.let(I32x4.lanes(0, 1, 2, 3).mul(a.strideW.splat()));
    const decoded = k.var(a.begin.sub(1));

    /** Four inputs, for outputs next to each other; zeros where `from` (their place in the row) is outside of it. */
    const inputs = (address: I32, offset: number, from: I32 | undefined): F32x4 => {
      let value = unitStride ? address.loadF32x4(offset) : address.loadF32x4Splat(offset);
      for (let lane = 1; lane < 4 && !unitStride; lane++) {
        value = value.withLane(lane, address.add(stepBytes.mul(lane)).loadF32(offset));
      }
      if (from === undefined) return k.let(value);
      const inside = limit.gtU(lanes.add(from.splat()));
      return k.let(inside.and(value.asI32x4()).asF32x4());
    };

    k.forRange(a.begin, a.end, 1, (item) => {
      const h = k.let(item.remU(a.outHeight));
      const outFrame = k.let(item.divU(a.outHeight));
      const t = k.let(outFrame.remU(a.outFrames));
      const clipBlock = k.let(outFrame.divU(a.outFrames));
      const first = k.let(clipBlock.remU(blocks).mul(filters));
      const clip = k.let(clipBlock.divU(blocks));
      // Weights of the block in scratch, widened: for each tap those of all its filters.
      k.if(decoded.ne(clipBlock), () => {
        decoded.set(clipBlock);
        k.forRange(0, filterSize, 1, (tap) => {
          for (let f = 0; f < filters; f++) {
            const from = k.let(a.weight.add(first.add(f).mul(filterSize).add(tap).mul(bytes)));
            k.store(a.scratch.add(tap.mul(4 * filters)), loadFloats(k, dtype, from).lane(0), 4 * f);
          }
        });
      });
      const firstFrame = k.let(t.mul(a.strideT).sub(a.padT));
      const firstLine = k.let(h.mul(a.strideH).sub(a.padH));
      // Behind the weights, the rows of the input that the kernel covers: address, and address of the first weight.
      const rows = k.let(a.scratch.add(filterSize.mul(4 * filters)));
      const rowsEnd = k.var(rows);
      // Of rows outside the products with zeros: NaN for a weight that is not finite.
      const padded = Array.from({ length: filters }, () => k.var(F32x4.of(0)));
      forRows(k, a, clip, firstFrame, firstLine, {
        inside(row, tap) {
          k.store(rowsEnd, row);
          k.store(rowsEnd, a.scratch.add(tap.mul(4 * filters)), 4);
          rowsEnd.set(rowsEnd.add(8));
        },
        outside(tap) {
          const weights = k.let(a.scratch.add(tap.mul(4 * filters)));
          k.forRange(weights, k.let(weights.add(a.kernelW.mul(4 * filters))), 4 * filters, (at) => {
            padded.forEach((sum, f) => {
              sum.set(sum.add(at.loadF32x4Splat(4 * f).mul(0)));
            });
          });
        },
      });
      const out = k.let(
        a.y.add(clip.mul(a.filters).add(first).mul(plane).add(t.mul(a.outHeight).add(h).mul(a.outWidth)).shl(2)),
      );
      k.forRange(0, a.outWidth, 8, (w) => {
        const sums = Array.from({ length: filters }, (_, f) => {
          const value = bias
            ? k.let(
                a.bias
                  .add(first.shl(2))
                  .loadF32x4Splat(4 * f)
                  .add(padded[f]!),
              )
            : padded[f]!;
          return [k.var(value), k.var(value)] as const;
        });
        const left = k.let(w.mul(a.strideW).sub(a.padW));
        const right = k.let(left.add(a.strideW.mul(7)).add(a.kernelW));
        const taps = (masked: boolean) => {
          k.forRange(rows, rowsEnd, 8, (row) => {
            const from = k.var(row.loadI32().add(left.shl(2)));
            const weights = k.var(row.loadI32(4));
            const column = (position: I32, n: number) => {
              const place = masked ? k.let(position.add(n)) : undefined;
              const low = inputs(from, 4 * n, place);
              const next = unitStride ? from : k.let(from.add(stepBytes.shl(2)));
              const high = inputs(next, 4 * n + (unitStride ? 16 : 0), place?.add(a.strideW.shl(2)));
              sums.forEach(([lowSum, highSum], f) => {
                const factor = k.let(weights.loadF32x4Splat(4 * (n * filters + f)));
                lowSum.set(k.madd(low, factor, lowSum));
                highSum.set(k.madd(high, factor, highSum));
              });
            };
            for (let n = 0; n < columns; n++) column(left, n);
            if (columns > 0) return;
            k.forRange(0, a.kernelW, 1, (n) => {
              column(left.add(n), 0);
              from.set(from.add(4));
              weights.set(weights.add(4 * filters));
            });
          });
        };
        k.if(
          // As unsigned numbers, negative ones are too large.
          left.ltU(a.width).and(right.leS(a.width)),
          () => {
            taps(false);
          },
          () => {
            taps(true);
          },
        );
        storeRows(k, sums, k.let(out.add(w.shl(2))), k.let(plane.shl(2)), k.let(a.outWidth.sub(w)));
      });
    });
  },
});

type Sizes = Readonly<Record<Name | 'x', I32>>;

/** Calls `inside` with the address of every row of the input that the kernel covers and its first tap, or `outside`. */
function forRows(
  k: KernelBuilder,
  a: Sizes,
  clip: I32,
  firstFrame: I32,
  firstLine: I32,
  { inside, outside }: { inside: (row: I32, tap: I32) => void; outside: (tap: I32) => void },
): void {
  const tap = k.var(clip.sub(clip));
  k.forRange(0, a.channels, 1, (c) => {
    const channel = k.let(clip.mul(a.channels).add(c).mul(a.frames));
    k.forRange(0, a.kernelT, 1, (dt) => {
      const frame = k.let(firstFrame.add(dt));
      const lines = k.let(channel.add(frame).mul(a.height));
      k.forRange(0, a.kernelH, 1, (dh) => {
        const line = k.let(firstLine.add(dh));
        k.if(
          frame.ltU(a.frames).and(line.ltU(a.height)),
          () => {
            inside(k.let(a.x.add(lines.add(line).mul(a.width).shl(2))), tap);
          },
          () => {
            outside(tap);
          },
        );
        tap.set(tap.add(a.kernelW));
      });
    });
  });
}

/** Stores eight positions, or as many as are left, in each filter's row. */
function storeRows(
  k: KernelBuilder,
  sums: readonly (readonly [Var<F32x4>, Var<F32x4>])[],
  out: I32,
  planeBytes: I32,
  left: I32,
): void {
  sums.forEach((halves, f) => {
    const row = k.let(out.add(planeBytes.mul(f)));
    halves.forEach((sum, half) => {
      const [to, rest] = [k.let(row.add(16 * half)), k.let(left.sub(4 * half))];
      k.if(
        rest.geS(4),
        () => {
          k.store(to, sum);
        },
        () => {
          k.if(rest.gtS(0), () => {
            storeLanes(k, to, sum, rest);
          });
        },
      );
    });
  });
}

export const wasm: WasmOf<Conv3d> = ({ inputs: { x, weight, bias }, y, params: { padding, stride } }) => {
  const filters = weight.shape[0]!;
  const together = filtersTogether(filters);
  const filterSize = weight.size / filters;
  const [outFrames, outHeight, outWidth] = y.shape.slice(2) as [number, number, number];
  const sizes = [...x.shape.slice(1), ...y.shape.slice(2), filters, ...weight.shape.slice(2), ...stride, ...padding];
  return [
    {
      kernel,
      variant: {
        dtype: weight.dtype,
        bias: bias !== undefined,
        filters: together,
        unitStride: stride[2] === 1,
        columns: weight.shape[4]! <= MOST_COLUMNS ? weight.shape[4]! : 0,
      },
      args: {
        x,
        weight,
        bias: bias ?? weight,
        y,
        ...Object.fromEntries(NAMES.map((name, i) => [name, sizes[i]!])),
      },
      items: (x.shape[0]! * filters * outFrames * outHeight) / together,
      itemCost: 2 * together * outWidth * filterSize,
      scratchBytes: 4 * together * filterSize + (8 * filterSize) / weight.shape[4]!,
    },
  ];
};
