// Goldens of whole forwards: the calls of each tag replayed with their arguments, sharing a cache within a sequence.
import { compareFloats, golden } from './goldens.ts';
import { add, affine, guidance } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { distillDt, guidanceScales } from '../sampler/index.ts';
import { KvCache } from '../transformer/kv-cache.ts';
import type { DitChunk, DitForward, VideoDiT } from '../transformer/video-dit.ts';
import {
  chunkToDevice,
  ditGates,
  folderOf,
  goldenFrames,
  loadDit,
  readDitManifest,
  rowsToDevice,
} from './dit-model.ts';
import type { DitManifest, Goldens } from './dit-model.ts';
import { velocityChecks } from './dit-ops.ts';
import type { Check, VerifyContext } from './types.ts';
import { keepView } from '../nn/index.ts';
import { readTensors } from './files.ts';

const NULL_ROWS = 50;

interface RecordedCall {
  readonly output: string;
  readonly x_shape: readonly number[];
  readonly t: readonly (readonly number[])[];
  readonly kv_range: readonly (readonly [number, number])[];
  readonly update_kv_cache: boolean | null;
  readonly caption_dropout_mask: readonly [boolean];
  readonly xattn_valid: readonly number[];
  readonly num_steps: number;
  readonly fwd_extra_1st_chunk: boolean;
  readonly distill_interval: number;
  readonly slice_point: number;
  readonly range_num: number;
  readonly distill_nearly_clean_chunk?: boolean;
}

interface Info {
  readonly txt_lengths: readonly number[];
  readonly chunk_width: number;
  readonly tokens_per_chunk: number;
  readonly calls: Readonly<Record<string, { readonly note: string; readonly calls: readonly RecordedCall[] }>>;
}

export async function verifyDitForward(path: string, context: VerifyContext): Promise<Check[]> {
  const manifest = await readDitManifest(path);
  const goldens = await readTensors(path);
  const model = await loadDit(folderOf(path), manifest.config, context.device);
  const replay = new Replay(model, goldens, manifest, context);
  try {
    const checks: Check[] = [];
    for (const tag of Object.keys(replay.info.calls)) checks.push(...(await replay.tag(tag)));
    return checks;
  } finally {
    replay.dispose();
    model.dispose();
  }
}

class Replay {
  readonly info: Info;
  readonly #model: VideoDiT;
  readonly #goldens: Goldens;
  readonly #manifest: DitManifest;
  readonly #context: VerifyContext;
  readonly #gate: { relL2: number };
  /** One cache per sequence: tags `seq1.a`, `seq1.b` ... share theirs. */
  readonly #caches = new Map<string, KvCache>();

  constructor(model: VideoDiT, goldens: Goldens, manifest: DitManifest, context: VerifyContext) {
    this.info = manifest.info as unknown as Info;
    this.#model = model;
    this.#goldens = goldens;
    this.#manifest = manifest;
    this.#context = context;
    this.#gate = { relL2: ditGates(manifest.config).forward };
  }

  async tag(tag: string): Promise<Check[]> {
    const { calls, note } = this.info.calls[tag]!;
    const checks: Check[] = [];
    const outputs: Tensor[][] = [];
    for (const call of calls) {
      const velocities = await this.#call(tag, call, calls[0]!);
      outputs.push(velocities);
      checks.push(...(await this.#compareOutput(call, velocities)));
      if (call.update_kv_cache === true) checks.push(...(await this.#compareCache(tag, call)));
    }
    if (this.#goldens.has(`${tag}.out`)) checks.push(...(await this.#compareCombined(tag, calls[0]!, outputs, note)));
    return checks;
  }

  dispose(): void {
    for (const cache of this.#caches.values()) cache.dispose();
  }

  /** Chunks of `in.x` that a call was fed: those whose text lengths it shows, its slice point where several fit. */
  #firstChunk(call: RecordedCall, real: number): number {
    const { txt_lengths } = this.info;
    const fits = (first: number) =>
      Array.from({ length: real }, (_, i) => call.xattn_valid[i]!).every(
        (valid, i) => this.#isNullText(valid) || txt_lengths[first + i] === valid,
      );
    const candidates = [call.slice_point, ...txt_lengths.keys()];
    const found = candidates.find((first) => first + real <= txt_lengths.length && fits(first));
    if (found === undefined) throw new Error(`no chunks of in.x have texts of ${call.xattn_valid.join(', ')} rows`);
    return found;
  }

  #isNullText(valid: number): boolean {
    return valid === NULL_ROWS && !this.info.txt_lengths.includes(NULL_ROWS);
  }

  /** Positions that are chunks of the video; a nearly clean chunk's copy comes after them. */
  #realChunks(call: RecordedCall): number {
    return call.xattn_valid.length - (call.distill_nearly_clean_chunk === true ? 1 : 0);
  }

  async #call(tag: string, call: RecordedCall, first: RecordedCall): Promise<Tensor[]> {
    const alone = call.x_shape[0]! > 1 || (call !== first && call.update_kv_cache === null);
    const real = this.#realChunks(call);
    const start = alone
      ? this.#firstChunk(first, this.#realChunks(first)) + (first.fwd_extra_1st_chunk ? 1 : 0)
      : this.#firstChunk(call, real);
    const width = this.info.chunk_width;
    const readings = new Map<string, Tensor>();
    const chunks = call.xattn_valid.map((valid, i): DitChunk => {
      // The copy of a nearly clean chunk repeats the oldest noisy one at the next time positions.
      const source = i < real ? start + i : start + (call.fwd_extra_1st_chunk ? 1 : 0);
      const key = `${this.#isNullText(valid)} ${valid}`;
      if (!readings.has(key)) readings.set(key, this.#readText(valid));
      return {
        latent: chunkToDevice(
          this.#context.device,
          golden(this.#goldens, 'in.x'),
          source * width,
          (source + 1) * width,
        ),
        t: alone ? call.t[i]![0]! : call.t[0]![i]!,
        firstFrame: alone ? 0 : (call.slice_point + i) * width,
        keys: call.kv_range[i]!,
        text: readings.get(key)!,
      };
    });
    const cache = alone ? undefined : this.#cacheOf(tag);
    const input: DitForward = {
      chunks,
      condition: call.caption_dropout_mask[0] ? 'null' : 'caption',
      dt: this.#manifest.config.engine_config.distill ? distillDt(call.num_steps, call.distill_interval) : null,
      cache,
      cached: { first: 0, end: alone ? 0 : call.slice_point },
      writes:
        call.update_kv_cache === true && cache
          ? Array.from({ length: real }, (_, position) => ({ position, chunk: call.slice_point + position }))
          : [],
    };
    const velocities = await this.#model.forward(input, { signal: this.#context.signal });
    for (const chunk of chunks) chunk.latent.dispose();
    for (const reading of readings.values()) reading.dispose();
    return velocities;
  }

  #readText(valid: number): Tensor {
    const { device } = this.#context;
    if (!this.#isNullText(valid)) {
      return scope(() => this.#model.readText(rowsToDevice(device, golden(this.#goldens, 'in.caption'), 0, valid)));
    }
    return scope(() => this.#model.readText(this.#model.nullCaptionRows(NULL_ROWS)));
  }

  #cacheOf(tag: string): KvCache {
    const sequence = tag.split('.')[0]!;
    let cache = this.#caches.get(sequence);
    if (cache === undefined) {
      const { num_layers, num_query_groups, kv_channels } = this.#model.model;
      cache = new KvCache(this.#context.device, {
        layers: num_layers,
        slots: this.info.txt_lengths.length,
        tokensPerChunk: this.info.tokens_per_chunk,
        groups: num_query_groups,
        headDim: kv_channels,
        dtype: this.#context.cacheDType ?? 'f32',
      });
      this.#caches.set(sequence, cache);
    }
    return cache;
  }

  async #compareOutput(call: RecordedCall, velocities: readonly Tensor[]): Promise<Check[]> {
    const stored = golden(this.#goldens, call.output);
    if (call.x_shape[0] === 1)
      return velocityChecks(call.output, velocities, stored, this.#gate, this.info.chunk_width);
    const checks: Check[] = [];
    for (const [i, v] of velocities.entries()) {
      const expected = goldenFrames(stored, 0, stored.shape[2]!, i).data;
      checks.push(compareFloats(`${call.output} entry ${i}`, await v.toFloat32(), expected, this.#gate));
    }
    return checks;
  }

  /** Layer 0's keys and values of the cached chunks and of this call, as the original's cache holds them. */
  async #compareCache(tag: string, call: RecordedCall): Promise<Check[]> {
    const name = `${tag}.kv_cache_l0`;
    const stored = this.#goldens.get(name);
    if (stored === undefined) return [];
    const [, groups, both] = stored.shape as [number, number, number];
    const { k, v, rows } = this.#cacheOf(tag).ring(0, 0, call.slice_point + this.#realChunks(call))!;
    const half = both / 2;
    const [keys, values] = [await k.toFloat32(), await v.toFloat32()];
    const actual = Float32Array.from({ length: rows * groups * both }, (_, i) => {
      const [row, column] = [Math.floor(i / both), i % both];
      return column < half ? keys[row * half + column]! : values[row * half + column - half]!;
    });
    return [compareFloats(name, actual, stored.data.slice(0, actual.length), this.#gate)];
  }

  /** The passes combined as the dispatcher does, for noisy chunks: nobody reads a clean chunk's output. */
  async #compareCombined(
    tag: string,
    call: RecordedCall,
    outputs: readonly Tensor[][],
    note: string,
  ): Promise<Check[]> {
    const { runtime_config, engine_config } = this.#manifest.config;
    const prefix = call.xattn_valid.every((valid) => this.#isNullText(valid));
    if (prefix) return []; // all chunks are clean
    const clean = call.fwd_extra_1st_chunk ? 1 : 0;
    const real = this.#realChunks(call);
    const stored = golden(this.#goldens, `${tag}.out`);
    const checks: Check[] = [];
    for (let i = clean; i < real; i++) {
      const t = call.t[0]![i]!;
      let combined: Tensor;
      if (engine_config.distill) {
        const share = Number(/prev_chunks_scale=([\d.]+)/.exec(note)?.[1] ?? '0.7');
        const [v, copy] = [outputs[0]![i]!, outputs[0]![real]];
        combined =
          i === clean && copy
            ? add(affine(v, { scale: share, shift: 0 }), affine(copy, { scale: 1 - share, shift: 0 }))
            : keepView(v);
      } else {
        const scales = guidanceScales(
          {
            cfgTRange: runtime_config.cfg_t_range,
            prevChunkScales: runtime_config.prev_chunk_scales,
            textScales: runtime_config.text_scales,
          },
          t,
        );
        combined = guidance(
          { caption: outputs[0]![i]!, nullText: outputs[1]![i]!, alone: outputs[2]![i - clean]! },
          { prevScale: scales.prevChunk, textScale: scales.text },
        );
      }
      const width = this.info.chunk_width;
      const expected = goldenFrames(stored, i * width, (i + 1) * width).data;
      checks.push(compareFloats(`${tag}.out chunk ${i}`, await combined.toFloat32(), expected, this.#gate));
    }
    return checks;
  }
}
