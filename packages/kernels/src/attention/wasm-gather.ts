// How wasm attention reads keys and values that begin in the ring of a cache: rows of one head, as f32.
import { GROUP, bytesOf } from '@magi1/tensor';
import type { FloatDType, I32, KernelBuilder } from '@magi1/tensor';
import { decodeF16, loadFloats } from '../support/wasm/floats.ts';
import type { CacheDType } from './contract.ts';

const PARAMS = {
  ring: 'i32',
  own: 'i32',
  stride: 'i32',
  ringRows: 'i32',
  first: 'i32',
  cached: 'i32',
  from: 'i32',
  rows: 'i32',
  to: 'i32',
} as const;

/** Copies rows of head_dim elements of a key axis that begins in a ring of a cache to f32 rows; what pads them means nothing. */
export function gatherFunction(k: KernelBuilder, headDim: number, dtype: Exclude<CacheDType, 'q8'>, rowBytes: number) {
  const elementBytes = bytesOf(dtype, 1);
  return k.function(PARAMS, null, (f, { ring, own, stride, ringRows, first, cached, from, rows, to }) => {
    const ringStride = f.let(stride.mul(elementBytes).shrU(2));
    const copy = (type: FloatDType, source: I32, target: I32) => {
      for (let at = 0; at < headDim; at += 4) {
        f.store(target, loadFloats(f, type, source, at * bytesOf(type, 1)), 4 * at);
      }
    };
    f.forRange(0, rows, 1, (row) => {
      const key = f.let(from.add(row));
      const target = f.let(to.add(row.mul(rowBytes)));
      f.if(
        key.ltU(cached),
        () => {
          const place = f.let(first.add(key));
          const wrapped = f.select(place.ltU(ringRows), place, place.sub(ringRows));
          copy(dtype, f.let(ring.add(wrapped.mul(ringStride))), target);
        },
        () => {
          copy('f32', f.let(own.add(key.sub(cached).mul(stride))), target);
        },
      );
    });
  });
}

/** The same of a cache in q8, where elements are counted from its start; `head` of them lie before the head's in a row. */
export function gatherQ8Function(k: KernelBuilder, headDim: number, rowBytes: number) {
  return k.function(
    { ...PARAMS, head: 'i32' },
    null,
    (f, { ring, own, stride, ringRows, first, cached, from, rows, to, head }) => {
      const rowElements = f.let(stride.shrU(2));
      // Elements under one scale that a row is known to have side by side.
      const run = headDim % 32 === 0 ? 32 : 4;
      f.forRange(0, rows, 1, (row) => {
        const key = f.let(from.add(row));
        const target = f.let(to.add(row.mul(rowBytes)));
        f.if(
          key.ltU(cached),
          () => {
            const place = f.let(first.add(key));
            const wrapped = f.select(place.ltU(ringRows), place, place.sub(ringRows));
            const start = f.let(wrapped.mul(rowElements).add(head));
            f.forRange(0, headDim, run, (at) => {
              const element = f.let(start.add(at));
              const group = f.let(ring.add(element.shrU(6).mul(bytesOf('q8', GROUP))));
              const bits = f.let(group.add(element.shrU(4).and(2)).loadU16());
              const scale = decodeF16(f, bits.splat());
              const codes = f.let(group.add(element.and(GROUP - 1)));
              const output = f.let(target.add(at.shl(2)));
              if (run === 4) {
                f.store(output, codes.loadS8x8(4).lowS().toF32x4S().mul(scale));
                return;
              }
              for (let i = 0; i < run; i += 8) {
                const eight = f.let(codes.loadS8x8(4 + i));
                f.store(output, eight.lowS().toF32x4S().mul(scale), 4 * i);
                f.store(output, eight.highS().toF32x4S().mul(scale), 4 * i + 16);
              }
            });
          },
          () => {
            const source = f.let(own.add(key.sub(cached).mul(stride)));
            for (let at = 0; at < headDim; at += 4) f.store(target, source.loadF32x4(4 * at), 4 * at);
          },
        );
      });
    },
  );
}
