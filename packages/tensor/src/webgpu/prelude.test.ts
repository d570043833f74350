// What the WebGPU runtime generates and packs, and its error log: no adapter needed.
import { describe, expect, test } from 'vitest';
import { Magi1Error, OutOfMemoryError } from '../errors.ts';
import { FailureLog } from './failures.ts';
import type { WgslProgram } from './kernel.ts';
import { expandProgram, numberLines, packParams, programKey } from './prelude.ts';
import { translate } from './recorder.ts';

const program: WgslProgram<{ dtype: string; wide: boolean }> = {
  name: 'scale',
  bindings: ({ dtype }) => [
    { name: 'x', type: `array<${dtype}>`, access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', offset: 'i32', factor: 'f32' },
  enables: ({ dtype }) => (dtype === 'f16' ? ['f16', 'diagnostic(off, subgroup_uniformity)'] : []),
  source: ({ wide }) => `fn main() { /* ${wide} */ }`,
};

describe('prelude', () => {
  test('is in front of the source', () => {
    expect(expandProgram(program, { wide: true, dtype: 'f16' }).code).toBe(`enable f16;
diagnostic(off, subgroup_uniformity);
struct Params {
  size: u32,
  offset: i32,
  factor: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f16>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
fn main() { /* true */ }`);
  });

  test('keys do not depend on the order of the variant', () => {
    expect(programKey(program, { wide: false, dtype: 'f32' })).toBe('scale,dtype=f32,wide=false');
    expect(programKey(program, { dtype: 'f32', wide: false })).toBe('scale,dtype=f32,wide=false');
    expect(programKey(program, {})).toBe('scale');
  });

  test('no more parameters than one slot holds', () => {
    const params = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`p${i}`, 'u32' as const]));
    expect(() => expandProgram({ ...program, params }, { dtype: 'f32', wide: true })).toThrow(
      'scale: has 65 parameters',
    );
  });

  test('numbers lines', () => {
    expect(numberLines('a\nb')).toBe('   1 | a\n   2 | b');
  });
});

describe('parameters', () => {
  const expanded = expandProgram(program, { dtype: 'f32', wide: false });
  const pack = (values: Record<string, number>) => {
    const view = new DataView(new ArrayBuffer(272));
    packParams('op', expanded, values, view, 256);
    return [view.getUint32(256, true), view.getInt32(260, true), view.getFloat32(264, true)];
  };

  test('are packed in order of declaration, whatever the order given', () => {
    expect(pack({ factor: -0.5, offset: -7, size: 2 ** 32 - 1 })).toEqual([2 ** 32 - 1, -7, -0.5]);
  });

  test.each([
    [{ size: 1, offset: 0 }, 'parameter factor of program scale is missing'],
    [{ size: 1, offset: 0, factor: 1, scale: 2 }, 'program scale has no parameter scale'],
    [{ size: 2 ** 32, offset: 0, factor: 1 }, 'parameter size of program scale must be u32, got 4294967296'],
    [{ size: NaN, offset: 0, factor: 1 }, 'parameter size of program scale must be u32, got NaN'],
    [{ size: 1, offset: 2 ** 31, factor: 1 }, 'parameter offset of program scale must be i32, got 2147483648'],
  ])('%j is refused', (values, message) => {
    expect(() => pack(values)).toThrow(`op: ${message}`);
  });
});

describe('failures', () => {
  const thrown = (body: () => void) => {
    try {
      body();
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };

  test('reach every wait that was under way, and later ones only once', () => {
    const log = new FailureLog();
    const [a, b] = [log.mark(), log.mark()];
    log.report(new Magi1Error('first'));
    log.report(new Magi1Error('second'));
    expect(thrown(() => log.throwSince(a))).toBe('first');
    expect(thrown(() => log.throwSince(b))).toBe('first');
    expect(thrown(() => log.throwSince(log.mark()))).toBeUndefined();
    log.report(new Magi1Error('consequence'));
    log.reportCause(new Magi1Error('cause'));
    expect(thrown(() => log.throwNew())).toBe('cause');
    expect(thrown(() => log.throwNew())).toBeUndefined();
  });

  test('are not lost when there are very many', () => {
    const log = new FailureLog();
    for (let round = 0; round < 5; round++) {
      const mark = log.mark();
      for (let i = 0; i < 100; i++) log.report(new Magi1Error(`${round}.${i}`));
      expect(thrown(() => log.throwSince(mark))).toBe(`${round}.0`);
    }
  });

  test('a check that itself fails is a failure', async () => {
    const log = new FailureLog();
    log.watch(Promise.reject(new Error('lost')));
    await log.settle();
    expect(thrown(() => log.throwNew())).toBe('WebGPU: lost');
  });
});

test('an adapter out of memory is told apart', () => {
  class GPUOutOfMemoryError {
    readonly message = 'no room';
  }
  class GPUValidationError {
    readonly message = 'wrong';
  }
  expect(translate(new GPUOutOfMemoryError())).toBeInstanceOf(OutOfMemoryError);
  expect(translate(new GPUValidationError())).not.toBeInstanceOf(OutOfMemoryError);
});
