// What the elementwise, normalising and sampler ops refuse, on the reference device.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Device, OpError } from '@magi1/tensor';
import type { DType, Shape, Tensor } from '@magi1/tensor';
import {
  add,
  affine,
  eulerStep,
  gatedResidual,
  guidance,
  layerNorm,
  qkNorm,
  quantize,
  rmsNorm,
  rope,
  silu,
  softmax,
  swiglu,
} from './index.ts';

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'reference' });
});
afterAll(() => device.dispose());

const t = (shape: Shape, dtype: DType = 'f32'): Tensor => device.zeros(shape, dtype);

function refuses(call: () => unknown, message: RegExp): void {
  expect(call).toThrow(OpError);
  expect(call).toThrow(message);
}

describe('refusals name the op, the input, what was expected and what came', () => {
  test('elementwise ops', () => {
    refuses(() => silu(t([2], 'i32')), /silu: x must be f32, got i32\[2\]/);
    refuses(() => affine(t([2]), { scale: NaN, shift: 0 }), /affine: scale must be a finite number, got NaN/);
    refuses(() => eulerStep(t([2]), t([3]), { dt: 1 }), /eulerStep: v must be \[2\], got f32\[3\]/);
    refuses(() => swiglu(t([2, 5])), /swiglu: x must have an even number of features, got f32\[2,5\]/);
    refuses(() => add(t([2, 3]), t([2])), /add: a f32\[2,3\] and b f32\[2\] cannot be broadcast together/);
  });

  test('quantize takes one scale or one per feature', () => {
    refuses(() => quantize(t([2, 3]), t([2])), /quantize: scale must be \[3\] or \[1\], got f32\[2\]/);
    refuses(() => quantize(t([2, 3]), t([1, 3])), /quantize: scale must be \[3\] or \[1\], got f32\[1,3\]/);
    refuses(() => quantize(t([2, 3], 'bf16'), t([3])), /quantize: x must be f32, got bf16\[2,3\]/);
  });

  test('guidance needs the predictions that count', () => {
    const u = t([2]);
    refuses(() => guidance({ nullText: u, caption: u }, { prevScale: 1.5, textScale: 7.5 }), /prevScale 1.5 needs/);
    refuses(() => guidance({ nullText: u, alone: u }, { prevScale: 1.5, textScale: 7.5 }), /textScale 7.5 needs/);
    refuses(() => guidance({ nullText: u, caption: t([3]) }, { prevScale: 1, textScale: 2 }), /caption must be \[2\]/);
  });

  test('norms', () => {
    refuses(() => layerNorm(t([]), { eps: 1e-6 }), /layerNorm: x must have at least one axis/);
    refuses(() => layerNorm(t([2, 3]), { eps: 1e-6, weight: t([2]) }), /layerNorm: weight must be \[3\], got f32\[2\]/);
    refuses(() => layerNorm(t([2, 3]), { eps: -1 }), /layerNorm: eps must be a number of at least 0, got -1/);
    refuses(() => rmsNorm(t([2, 3]), t([3], 'bf16'), { eps: 1e-6 }), /rmsNorm: weight must be f32, got bf16\[3\]/);
    refuses(() => qkNorm(t([2, 3]), { kind: 'std', eps: 1e-5 }), /qkNorm: x must have 3 axes, got f32\[2,3\]/);
    refuses(() => qkNorm(t([1, 2, 3]), { kind: 'weight', eps: 1e-5 }), /qkNorm: kind weight needs a weight/);
    refuses(() => qkNorm(t([1, 2, 3]), { kind: 'std', eps: 1e-5, bias: t([3]) }), /qkNorm: kind std takes no weight/);
    refuses(() => softmax(t([])), /softmax: x must have at least one axis/);
  });

  test('rope turns at most all features', () => {
    refuses(() => rope(t([2, 1, 4]), t([2, 3]), t([2, 3])), /rope: f32\[2,3\] turns 6 features, x is f32\[2,1,4\]/);
    refuses(() => rope(t([2, 1, 8]), t([3, 3]), t([3, 3])), /rope: cos must be \[2,3\], got f32\[3,3\]/);
  });

  test('gatedResidual needs a gate row for every token', () => {
    const [h, k] = [t([5, 3]), t([3])];
    const options = { weight: k, bias: k, eps: 1e-6, onePlusWeight: true };
    refuses(
      () => gatedResidual(h, h, t([1, 3]), { ...options, tokensPerRow: 2 }),
      /gate must be \[3,3\], got f32\[1,3\]/,
    );
    refuses(() => gatedResidual(h, h, t([5, 3]), { ...options, tokensPerRow: 0 }), /tokensPerRow must be a positive/);
    refuses(() => gatedResidual(h, t([4, 3]), t([5, 3]), { ...options, tokensPerRow: 1 }), /branch must be \[5,3\]/);
  });
});

test('empty tensors come out empty', async () => {
  for (const y of [silu(t([0, 3])), softmax(t([3, 0])), layerNorm(t([0, 4]), { eps: 1e-6 }), add(t([0, 3]), t([3]))]) {
    expect(y.size).toBe(0);
    expect(await y.read()).toHaveLength(0);
  }
});
