// Between video tensors in [-1, 1] and uint8 RGB frames.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { framesToUint8Cases, randomFramesToUint8, randomUint8ToVideo, uint8ToVideoCases } from './cases.ts';
import { toUint8Contract, toVideoContract } from './contract.ts';
import type { FramesToUint8, Uint8ToVideo } from './contract.ts';
import { framesToUint8Wasm, uint8ToVideoWasm } from './wasm.ts';
import { framesToUint8WebGpu, uint8ToVideoWebGpu } from './webgpu.ts';

export const framesToUint8Op = defineOp<FramesToUint8>({
  ...toUint8Contract,
  reference({ inputs: { y: video }, y }) {
    const [batch, , frames, height, width] = video.shape as [number, number, number, number, number];
    const plane = frames * height * width;
    for (let b = 0; b < batch; b++)
      for (let c = 0; c < 3; c++)
        for (let i = 0; i < plane; i++) {
          // Multiply and add in f32, as the model's own conversion does: truncation makes the rounding visible.
          const level = Math.fround(Math.fround(video.data[(b * 3 + c) * plane + i]! * 127.5) + 127.5);
          y.data[(b * plane + i) * 3 + c] = Number.isNaN(level) ? 0 : Math.trunc(Math.min(Math.max(level, 0), 255));
        }
  },
  webgpu: framesToUint8WebGpu,
  wasm: framesToUint8Wasm,
  cases: framesToUint8Cases,
  randomCase: randomFramesToUint8,
});

export const uint8ToVideoOp = defineOp<Uint8ToVideo>({
  ...toVideoContract,
  reference({ inputs: { frames }, y }) {
    const plane = y.data.length / 3;
    for (let i = 0; i < plane; i++)
      for (let c = 0; c < 3; c++) y.data[c * plane + i] = frames.data[i * 3 + c]! / 127.5 - 1;
  },
  webgpu: uint8ToVideoWebGpu,
  wasm: uint8ToVideoWasm,
  cases: uint8ToVideoCases,
  randomCase: randomUint8ToVideo,
});

/** y f32 [B, 3, T, H, W] in [-1, 1] -> u8 [B*T, H, W, 3]: clamp(y*127.5 + 127.5, 0, 255), truncated; NaN becomes 0. */
export const framesToUint8 = (y: Tensor): Tensor<'u8'> => runOp(framesToUint8Op, { y }, {}) as Tensor<'u8'>;
/** frames u8 [T, H, W, 3] -> f32 [1, 3, T, H, W]: u8/127.5 - 1. */
export const uint8ToVideo = (frames: Tensor): Tensor<'f32'> => runOp(uint8ToVideoOp, { frames }, {}) as Tensor<'f32'>;
