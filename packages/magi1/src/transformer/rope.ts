// Learned 3-axis rotary embedding: tables of cos and sin for the tokens of a forward.
import { Magi1Error, MetaDevice, keep, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { HostValues, keepView, Module } from '../nn/index.ts';
import type { Params } from '../nn/index.ts';

export interface RopeTables<Table> {
  /** [tokens, 3 bands] each, columns all t bands, then h, then w. */
  readonly cos: Table;
  readonly sin: Table;
}

/** Columns of the rope tables: 3 axes x bands. */
export function ropeBands({ kv_channels }: ModelConfig): number {
  return Math.floor(kv_channels / 8);
}

/** Tables that are kept: those of the chunks that are made, and of one that is run alone. */
const KEPT = 2;

/** Tables on the device. Positions repeat over the passes and steps of a run: the latest tables are kept until `free`. */
export class Rope extends Module {
  /** The checkpoint's learned frequencies. */
  readonly bands: HostValues;
  readonly #device: Device;
  /** By positions and grid, the latest last. */
  readonly #kept = new Map<string, RopeTables<Tensor>>();

  constructor(p: Params, model: ModelConfig) {
    super(p);
    this.bands = new HostValues(p.vector('bands', [ropeBands(model)]));
    this.#device = p.device;
  }

  /** For frames at absolute positions of grids of `height` x `width` patches. The caller disposes them. */
  async tables(frames: readonly number[], height: number, width: number): Promise<RopeTables<Tensor>> {
    const bands = await this.bands.read();
    const key = `${height}x${width} ${frames.join()}`;
    const found = this.#kept.get(key) ?? this.#make(frames, height, width, bands);
    this.#kept.delete(key);
    this.#kept.set(key, found);
    return { cos: keepView(found.cos), sin: keepView(found.sin) };
  }

  override free(): void {
    for (const { cos, sin } of this.#kept.values()) for (const table of [cos, sin]) table.dispose();
    this.#kept.clear();
  }

  #make(frames: readonly number[], height: number, width: number, bands: Float32Array): RopeTables<Tensor> {
    const [oldest] = this.#kept;
    if (oldest !== undefined && this.#kept.size >= KEPT) {
      this.#kept.delete(oldest[0]);
      for (const table of [oldest[1].cos, oldest[1].sin]) table.dispose();
    }
    const shape = [frames.length * height * width, 3 * bands.length];
    const dry = this.#device instanceof MetaDevice;
    const values = dry ? undefined : ropeTables(frames, height, width, bands);
    const table = (of: Float32Array | undefined) =>
      of ? this.#device.tensor(of, shape, 'f32') : this.#device.empty(shape, 'f32');
    const tables = scope(() => ({ cos: table(values?.cos), sin: table(values?.sin) }));
    return { cos: keep(tables.cos), sin: keep(tables.sin) };
  }
}

/** Rope was learned on a 16 x 16 grid of patches: other grids are scaled to its area. */
const TRAINED_PATCHES = 256;

/**
 * Positions along h or w of a grid with `n` patches: centred, and scaled so that the grid covers n / rescale.
 * A side of one patch has no scale of its own: it is refused unless rescale is 1.
 */
function centredPositions(n: number, rescale: number): number[] {
  if (n === 1) {
    if (rescale !== 1) {
      throw new Magi1Error(
        'rope: a side of one patch (16 pixels) is only possible when the area is 256 patches; choose at least 32 pixels',
      );
    }
    return [0];
  }
  const step = (n / rescale - 1) / (n - 1);
  return Array.from({ length: n }, (_, i) => (i - (n - 1) / 2) * step);
}

/**
 * Tables for frames at the given absolute positions of grids of `height` x `width` patches. Time is unscaled.
 * `bands` is the checkpoint's `rope.bands`.
 */
export function ropeTables(
  frames: readonly number[],
  height: number,
  width: number,
  bands: Float32Array,
): RopeTables<Float32Array> {
  const rescale = Math.sqrt((height * width) / TRAINED_PATCHES);
  const n = bands.length;
  // A position's cosines and sines are the same in every token that has it.
  const axis = (positions: readonly number[]) =>
    positions.map((position) => ({
      cos: Float32Array.from(bands, (band) => Math.cos(position * band)),
      sin: Float32Array.from(bands, (band) => Math.sin(position * band)),
    }));
  const [times, rows, columns] = [frames, centredPositions(height, rescale), centredPositions(width, rescale)].map(
    axis,
  );
  const tokens = frames.length * height * width;
  const cos = new Float32Array(tokens * 3 * n);
  const sin = new Float32Array(tokens * 3 * n);
  let at = 0;
  for (const t of times!)
    for (const h of rows!)
      for (const w of columns!)
        for (const position of [t, h, w]) {
          cos.set(position.cos, at);
          sin.set(position.sin, at);
          at += n;
        }
  return { cos, sin };
}
