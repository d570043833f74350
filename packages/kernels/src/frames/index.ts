// Between video tensors in [-1, 1] and uint8 RGB frames.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkRank, checkShapeIs } from '../support/checks.ts';
import { framesToUint8Cases, randomFramesToUint8, randomUint8ToVideo, uint8ToVideoCases } from './cases.ts';
import { framesToUint8Wasm, uint8ToVideoWasm } from './wasm.ts';
import { framesToUint8WebGpu, uint8ToVideoWebGpu } from './webgpu.ts';

export const framesToUint8Op = defineOp<'y', never, object>({
  name: 'framesToUint8',
  infer({ y }) {
    checkDType('framesToUint8', 'y', y, ['f32']);
    checkRank('framesToUint8', 'y', y, 5);
    const [batch, , frames, height, width] = y.shape as [number, number, number, number, number];
    checkShapeIs('framesToUint8', 'y', y, [batch, 3, frames, height, width]);
    return [{ shape: [batch * frames, height, width, 3], dtype: 'u8' }];
  },
  cost: ({ y }) => ({ flops: 4 * elementCount(y.shape), bytes: 5 * elementCount(y.shape) }),
  reference({ y }, [out]) {
    const [batch, , frames, height, width] = y.shape as [number, number, number, number, number];
    const plane = frames * height * width;
    for (let b = 0; b < batch; b++)
      for (let c = 0; c < 3; c++)
        for (let i = 0; i < plane; i++) {
          // Multiply and add in f32, as the model's own conversion does: truncation makes the rounding visible.
          const level = Math.fround(Math.fround(y.data[(b * 3 + c) * plane + i]! * 127.5) + 127.5);
          out!.data[(b * plane + i) * 3 + c] = Number.isNaN(level) ? 0 : Math.trunc(Math.min(Math.max(level, 0), 255));
        }
  },
  webgpu: framesToUint8WebGpu,
  wasm: framesToUint8Wasm,
  cases: framesToUint8Cases,
  randomCase: randomFramesToUint8,
});

export const uint8ToVideoOp = defineOp<'frames', never, object>({
  name: 'uint8ToVideo',
  infer({ frames }) {
    checkDType('uint8ToVideo', 'frames', frames, ['u8']);
    checkRank('uint8ToVideo', 'frames', frames, 4);
    const [count, height, width] = frames.shape as [number, number, number, number];
    checkShapeIs('uint8ToVideo', 'frames', frames, [count, height, width, 3]);
    return [{ shape: [1, 3, count, height, width], dtype: 'f32' }];
  },
  cost: ({ frames }) => ({ flops: 2 * elementCount(frames.shape), bytes: 5 * elementCount(frames.shape) }),
  reference({ frames }, [out]) {
    const plane = out!.data.length / 3;
    for (let i = 0; i < plane; i++)
      for (let c = 0; c < 3; c++) out!.data[c * plane + i] = frames.data[i * 3 + c]! / 127.5 - 1;
  },
  webgpu: uint8ToVideoWebGpu,
  wasm: uint8ToVideoWasm,
  cases: uint8ToVideoCases,
  randomCase: randomUint8ToVideo,
});

/** y f32 [B, 3, T, H, W] in [-1, 1] -> u8 [B*T, H, W, 3]: clamp(y*127.5 + 127.5, 0, 255), truncated; NaN becomes 0. */
export const framesToUint8 = (y: Tensor): Tensor<'u8'> => runOp(framesToUint8Op, { y }, {})[0] as Tensor<'u8'>;
/** frames u8 [T, H, W, 3] -> f32 [1, 3, T, H, W]: u8/127.5 - 1. */
export const uint8ToVideo = (frames: Tensor): Tensor<'f32'> =>
  runOp(uint8ToVideoOp, { frames }, {})[0] as Tensor<'f32'>;
