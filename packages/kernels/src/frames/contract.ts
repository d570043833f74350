// The contracts of framesToUint8 and uint8ToVideo.
import { elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export type FramesToUint8 = OpTypes<{ y: Tensor }>;
export type Uint8ToVideo = OpTypes<{ frames: Tensor }>;

export const toUint8Contract: ContractOf<FramesToUint8> = {
  name: 'framesToUint8',
  infer({ y }, _, check) {
    check.dtype('y', 'f32');
    check.rank('y', 5);
    const [batch, , frames, height, width] = y.shape as [number, number, number, number, number];
    check.shape('y', [batch, 3, frames, height, width]);
    return { shape: [batch * frames, height, width, 3], dtype: 'u8' };
  },
  cost: ({ y }) => ({ flops: 4 * elementCount(y.shape), bytes: 5 * elementCount(y.shape) }),
};

export const toVideoContract: ContractOf<Uint8ToVideo> = {
  name: 'uint8ToVideo',
  infer({ frames }, _, check) {
    check.dtype('frames', 'u8');
    check.rank('frames', 4);
    const [count, height, width] = frames.shape as [number, number, number, number];
    check.shape('frames', [count, height, width, 3]);
    return { shape: [1, 3, count, height, width], dtype: 'f32' };
  },
  cost: ({ frames }) => ({ flops: 2 * elementCount(frames.shape), bytes: 5 * elementCount(frames.shape) }),
};
