// Goldens of the transformer's single operators: embedders, rope, every stage of the layers, final layers, norms.
import { layerNorm, mul, narrow, permute } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { HostTensor, Tensor } from '@magi1/tensor';
import type { TransformerBlock } from '../transformer/block.ts';
import { ropeTables } from '../transformer/rope.ts';
import { timestepEmbedding } from '../transformer/timestep-embedding.ts';
import type { DitChunk, VideoDiT } from '../transformer/video-dit.ts';
import { chunkToDevice, ditGates, folderOf, loadDit, readDitManifest, rowsToDevice } from './dit-model.ts';
import type { Goldens } from './dit-model.ts';
import { tapDit } from './dit-taps.ts';
import { compareExact, compareFloats, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import type { Check, VerifyContext } from './types.ts';
import { keepView } from '../nn/index.ts';
import { readTensors } from './files.ts';

/** Raw sinusoid: arguments reach 8000, where float32 rounding alone moves it by 3e-4. */
const SINUSOID = { maxAbs: 1e-3 };
const ROPE = { maxAbs: 1e-6 };

export async function verifyDitOps(path: string, context: VerifyContext): Promise<Check[]> {
  const { config } = await readDitManifest(path);
  const goldens = await readTensors(path);
  const model = await loadDit(folderOf(path), config, context.device);
  const gate = { relL2: ditGates(config).operator };
  try {
    return [
      ...(await embedderChecks(model, goldens, gate)),
      ...(await layerChecks(model, goldens, gate, context)),
      ...(await normChecks(model, goldens, gate)),
      ...(await batchChecks(model, goldens, gate, context)),
    ];
  } finally {
    model.dispose();
  }
}

interface Gate {
  readonly relL2: number;
}

async function embedderChecks(model: VideoDiT, goldens: Goldens, gate: Gate): Promise<Check[]> {
  const times = [...goldenFloats(goldens, 't_embedder.in.t')];
  const caption = golden(goldens, 'y_embedder.in.caption');
  const rows = caption.data.length / caption.shape.at(-1)!;
  const bands = await model.rope.bands.read();
  const checks = [
    compareFloats('t_embedder.freq', timestepEmbedding(times), goldenFloats(goldens, 't_embedder.freq'), SINUSOID),
    await compareTensor('t_embedder.out', model.t_embedder.forward(times), golden(goldens, 't_embedder.out'), gate),
    await against(goldens, 'y_embedder.xattn', model.readText(rowsToDevice(model.device, caption, 0, rows)), gate),
    await against(goldens, 'y_embedder.adaln.cond', model.y_embedder.adaln('caption'), gate),
    await against(goldens, 'y_embedder.adaln.dropped', model.y_embedder.adaln('null'), gate),
  ];
  for (const name of goldens.keys()) {
    const match = /^rope\.(\d+)x(\d+)x(\d+)$/.exec(name);
    if (!match) continue;
    const [frames, height, width] = match.slice(1).map(Number) as [number, number, number];
    checks.push(compareRope(name, ropeTables(range(frames), height, width, bands), goldens));
  }
  return checks;
}

async function layerChecks(
  model: VideoDiT,
  goldens: Goldens,
  gate: Gate,
  { device, signal }: VerifyContext,
): Promise<Check[]> {
  const x = golden(goldens, 'in.x');
  const times = goldenFloats(goldens, 'in.t');
  const ranges = golden(goldens, 'in.kv_range').data;
  const frames = x.shape[2]! / times.length;
  const texts = validTexts(model, goldens, times.length);
  const chunks = [...times].map((t, i): DitChunk => ({
    latent: chunkToDevice(device, x, i * frames, (i + 1) * frames),
    t,
    firstFrame: i * frames,
    keys: [ranges[2 * i]!, ranges[2 * i + 1]!],
    text: texts[i]!,
  }));
  const taps = new Map<string, Tensor>();
  const out = await tapDit(
    model,
    (name, tensor) => void taps.set(name, keepView(tensor)),
    () => model.forward({ chunks, condition: 'caption', dt: null }, { signal }),
  );
  const checks: Check[] = [];
  for (const [name, tensor] of taps) {
    if (goldens.has(name)) checks.push(await against(goldens, name, tensor, gate));
    const index = /^layer(\d+)\.out$/.exec(name)?.[1];
    const next = `layer${Number(index) + 1}.in`;
    if (index !== undefined && goldens.has(next)) checks.push(await against(goldens, next, tensor, gate));
  }
  checks.push(await patchEmbedding(taps.get('pre.x')!, goldens, gate));
  checks.push(...(await gatedBranches(taps, goldens, gate, chunks.length)));
  checks.push(...packing(goldens, texts, taps.get('pre.x')!.shape[0]!));
  const [, , , height, width] = x.shape as [number, number, number, number, number];
  const patch = model.model.patch_size;
  const tables = ropeTables(
    range(x.shape[2]! / model.model.t_patch_size),
    height / patch,
    width / patch,
    await model.rope.bands.read(),
  );
  checks.push(compareRope('pre.rope', tables, goldens));
  checks.push(...(await velocityChecks('post.out', out, golden(goldens, 'post.out'), gate, frames)));
  return checks;
}

/** The null-text forward of a batch: each entry alone, positions from 0. */
async function batchChecks(
  model: VideoDiT,
  goldens: Goldens,
  gate: Gate,
  { device, signal }: VerifyContext,
): Promise<Check[]> {
  const x = golden(goldens, 'batch.in.x');
  const times = goldenFloats(goldens, 'batch.in.t');
  const ranges = golden(goldens, 'batch.kv_range').data;
  const texts = validTexts(model, goldens, times.length);
  const chunks = [...times].map((t, i): DitChunk => ({
    latent: chunkToDevice(device, x, 0, x.shape[2]!, i),
    t,
    firstFrame: 0,
    keys: [ranges[2 * i]!, ranges[2 * i + 1]!],
    text: texts[i]!,
  }));
  let condition: Tensor | undefined;
  const tap = (name: string, tensor: Tensor) => {
    if (name === 'pre.condition') condition = keepView(tensor);
  };
  const out = await tapDit(model, tap, () => model.forward({ chunks, condition: 'null', dt: null }, { signal }));
  const stored = golden(goldens, 'batch.out');
  const checks = [await against(goldens, 'batch.condition', condition!, gate)];
  const tokens = golden(goldens, 'batch.condition_map').shape[0]!;
  const map = Array.from({ length: tokens * times.length }, (_, i) => i % times.length);
  checks.push(compareExact('batch.condition_map', map, golden(goldens, 'batch.condition_map').data));
  const size = stored.data.length / times.length;
  for (const [i, v] of out.entries()) {
    const expected = Float32Array.from(stored.data.slice(i * size, (i + 1) * size));
    checks.push(compareFloats(`batch.out entry ${i}`, await v.toFloat32(), expected, gate));
  }
  return checks;
}

/** Norms on inputs of so small a variance that the epsilon is visible. */
async function normChecks(model: VideoDiT, goldens: Goldens, gate: Gate): Promise<Check[]> {
  const { layernorm_epsilon: eps, apply_layernorm_1p: onePlusWeight } = model.model;
  const { self_attention, self_attn_post_norm } = model.layers[0] as TransformerBlock;
  const hidden = toDevice(model.device, golden(goldens, 'norm.in.hidden'));
  const head = toDevice(model.device, golden(goldens, 'norm.in.head'));
  const { weight, bias } = self_attn_post_norm;
  const post = layerNorm(hidden, { weight, bias, eps, onePlusWeight });
  return [
    await against(goldens, 'norm.qkv_layer_norm', self_attention.linear_qkv.layer_norm.forward(hidden), gate),
    await against(goldens, 'norm.self_attn_post_norm', post, gate),
    await against(goldens, 'norm.q_layernorm', self_attention.q_layernorm.forward(head), gate),
  ];
}

/** gate x branch, which the fused kernel never shows: composed here from what is shown. */
async function gatedBranches(
  taps: ReadonlyMap<string, Tensor>,
  goldens: Goldens,
  gate: Gate,
  chunks: number,
): Promise<Check[]> {
  const checks: Check[] = [];
  for (const name of goldens.keys()) {
    const layer = /^(layer\d+)\.range_mod$/.exec(name)?.[1];
    if (layer === undefined) continue;
    const branch = taps.get(`${layer}.attn_proj`)!;
    const width = branch.shape[1]!;
    const product = scope(() => {
      const rows = narrow(taps.get(`${layer}.gate`)!, 1, 0, width).reshape([chunks, 1, width]);
      return mul(branch.reshape([chunks, -1, width]), rows);
    });
    checks.push(await against(goldens, name, product, gate));
  }
  return checks;
}

/** Packed cross attention: rows of each range, and the range of each token. */
function packing(goldens: Goldens, texts: readonly Tensor[], tokens: number): Check[] {
  const sums = (lengths: readonly number[]) => lengths.reduce((all, n) => [...all, all.at(-1)! + n], [0]);
  const perRange = tokens / texts.length;
  const map = Array.from({ length: tokens }, (_, i) => Math.floor(i / perRange));
  const lengths = texts.map((text) => text.shape[0]!);
  return [
    compareExact('pre.condition_map', map, golden(goldens, 'pre.condition_map').data),
    compareExact('pre.cu_seqlens_q', sums(texts.map(() => perRange)), golden(goldens, 'pre.cu_seqlens_q').data),
    compareExact('pre.cu_seqlens_kv', sums(lengths), golden(goldens, 'pre.cu_seqlens_kv').data),
  ];
}

/** Tokens [t*h*w, D] against the convolution's golden [1, D, t, h, w]. */
async function patchEmbedding(tokens: Tensor, goldens: Goldens, gate: Gate): Promise<Check> {
  const stored = golden(goldens, 'x_embedder.out');
  const [, width, ...grid] = stored.shape as [number, number, number, number, number];
  const video = permute(tokens.reshape([1, ...grid, width]), [0, 4, 1, 2, 3]);
  return compareTensor('x_embedder.out', video, stored, gate);
}

/** Velocities of consecutive chunks against one golden [1, C, T, h, w]. */
export async function velocityChecks(
  what: string,
  chunks: readonly Tensor[],
  stored: HostTensor,
  gate: Gate,
  frames: number,
): Promise<Check[]> {
  const [, channels, total, height, width] = stored.shape as [number, number, number, number, number];
  const plane = height * width;
  const actual = new Float32Array(stored.data.length);
  for (const [i, chunk] of chunks.entries()) {
    const values = await chunk.toFloat32();
    for (let c = 0; c < channels; c++) {
      actual.set(values.subarray(c * frames * plane, (c + 1) * frames * plane), (c * total + i * frames) * plane);
    }
  }
  const pass = chunks.length * frames === total;
  if (!pass)
    return [
      { what, pass, tolerance: '', detail: `${chunks.length} chunks of ${frames} frames, expected ${total} frames` },
    ];
  return [compareFloats(what, actual, stored.data, gate)];
}

/** Readings of the valid rows of each range. */
function validTexts(model: VideoDiT, goldens: Goldens, count: number): Tensor[] {
  const y = golden(goldens, 'in.y'); // [ranges, 1, L, Cc]
  const mask = golden(goldens, 'in.xattn_mask').data;
  const length = y.shape[2]!;
  return Array.from({ length: count }, (_, i) => {
    const valid = [...mask.slice(i * length, (i + 1) * length)].reduce((sum, on) => sum + on, 0);
    return model.readText(rowsToDevice(model.device, y, i * length, valid));
  });
}

async function against(goldens: Goldens, name: string, actual: Tensor, gate: Gate): Promise<Check> {
  const stored = golden(goldens, name);
  return compareTensor(name, actual.reshape(stored.shape), stored, gate);
}

function compareRope(name: string, { cos, sin }: { cos: Float32Array; sin: Float32Array }, goldens: Goldens): Check {
  const stored = golden(goldens, name);
  const [rows, columns] = stored.shape as [number, number];
  const half = columns / 2;
  const both = Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return column < half ? sin[row * half + column]! : cos[row * half + column - half]!;
  });
  return compareFloats(name, both, stored.data, ROPE);
}

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
