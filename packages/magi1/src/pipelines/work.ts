// The arithmetic of a whole run, stage by stage and op by op: every step of the sampler and every tile of the VAE is gone
// through on the meta device, forwards and tiles of the same sizes once.
import { framesToUint8 } from '@magi1/kernels';
import { MetaDevice, describeSpec, yieldToEventLoop } from '@magi1/tensor';
import type { AnyOp, Device, OpCall, Tensor, TensorSpec } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import type { Params, RunOptions } from '../nn/index.ts';
import { sample } from '../sampler/sample.ts';
import { T5Encoder } from '../t5/encoder.ts';
import { TransformerBlock } from '../transformer/block.ts';
import type { BlockContext } from '../transformer/block-context.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import type { DitConfig, DitForward } from '../transformer/video-dit.ts';
import { ViTVae } from '../vae/vit-vae.ts';
import { decodeVideo, encodePrefix } from './frames.ts';
import { conditioning, dryTransformer, metaParams } from './memory-plan.ts';
import type { ModelShapes, RunSize } from './memory-plan.ts';

export type Stage = 'text' | 'encoding' | 'denoising' | 'decoding';

/** An op's call without its values. */
export interface CallShape {
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  readonly y: TensorSpec;
  readonly params: unknown;
}

/** Calls of one op in one stage, with weights of one shape: they differ in their rows. */
export interface OpWork {
  readonly stage: Stage;
  readonly op: AnyOp;
  readonly calls: number;
  readonly flops: number;
  readonly bytes: number;
  /** The call with the most arithmetic. */
  readonly largest: CallShape & { readonly flops: number; readonly bytes: number };
}

/** By stage, op and weights; the same keys at every size of a run. */
export type Work = ReadonlyMap<string, OpWork>;

export async function countWork(
  shapes: ModelShapes,
  run: RunSize,
  device: Device,
  signal?: AbortSignal,
): Promise<Work> {
  const meter = WorkMeter.like(device);
  meter.signal = signal;
  if (run.texts.encoded > 0) {
    const encoder = new T5Encoder(metaParams(meter, shapes.textEncoder), shapes.t5Config);
    const ids = new Int32Array(run.texts.encoded);
    (
      await encoder.encode(
        ids,
        ids.map(() => 1),
        { signal },
      )
    ).dispose();
  }
  const { runtime_config: runtime, model_config: model } = shapes.config;
  const { plan, height, width, prefixFrames, outputType, cacheDType, tileBytes } = run;
  const vae = new CountedVae(metaParams(meter, shapes.vae), shapes.vaeConfig);
  let prefix: Tensor | undefined;
  if (prefixFrames > 0) {
    meter.stage = 'encoding';
    prefix = await encodePrefix(vae, meter.empty([prefixFrames, height, width, 3], 'u8'), shapes.config, signal);
  }
  meter.stage = 'denoising';
  const transformer = dryTransformer(shapes, run, meter, countedTransformer(model.num_layers));
  const input = { text: conditioning(run, model), noise: () => new Float32Array(), prefix };
  const size = { height: height / LATENT_STRIDE, width: width / LATENT_STRIDE, cacheDType, tileBytes };
  for await (const { latent } of sample({ model: transformer, plan, ...input, ...size }, { signal })) {
    using finished = latent;
    if (outputType === 'latents') continue;
    meter.stage = 'decoding';
    using video = await decodeVideo(vae, finished, runtime, signal);
    if (outputType === 'uint8') framesToUint8(video).dispose();
    meter.stage = 'denoising';
  }
  return meter.work;
}

/** Adds up what is recorded on it. */
class WorkMeter extends MetaDevice {
  stage: Stage = 'text';
  signal: AbortSignal | undefined;
  work = new Map<string, OpWork>();
  #repeats = 1;
  readonly #known = new Map<string, { readonly work: Work; readonly results: readonly TensorSpec[] }>();

  override execute(op: AnyOp, call: OpCall): void {
    super.execute(op, call);
    const { flops, bytes } = op.cost(call.inputs, call.params);
    const inputs = Object.fromEntries(
      Object.entries<Tensor | undefined>(call.inputs as Record<string, Tensor | undefined>).flatMap(([name, tensor]) =>
        tensor === undefined ? [] : [[name, { shape: tensor.shape, dtype: tensor.dtype }]],
      ),
    );
    const kinds = Object.entries(inputs).map(([name, spec]) => (name === 'weight' ? describeSpec(spec) : name));
    const y = { shape: call.y.shape, dtype: call.y.dtype };
    const calls = this.#repeats * this.multiplicity;
    this.#add(`${this.stage} ${op.name} ${kinds.join()}`, {
      ...{ stage: this.stage, op, calls, flops: calls * flops, bytes: calls * bytes },
      largest: { inputs, y, params: call.params, flops, bytes },
    });
  }

  /** What is recorded meanwhile counts as often. */
  repeated<T>(times: number, body: () => T): T {
    this.#repeats = times;
    try {
      return body();
    } finally {
      this.#repeats = 1;
    }
  }

  /** Goes through `body` when it is new; otherwise it counts as it did then, and empty tensors come back. */
  async once(what: string, body: () => Promise<Tensor[]>): Promise<Tensor[]> {
    const known = this.#known.get(what);
    const times = this.multiplicity;
    if (known !== undefined) {
      for (const [key, work] of known.work) this.#add(key, multiplied(work, times));
      return known.results.map(({ shape, dtype }) => this.empty(shape, dtype));
    }
    await yieldToEventLoop(); // Ctrl-C is served here: nothing else waits for anything
    this.signal?.throwIfAborted();
    const before = this.work;
    this.work = new Map();
    try {
      const results = await body();
      const single = new Map([...this.work].map(([key, work]) => [key, multiplied(work, 1 / times)]));
      this.#known.set(what, { work: single, results: results.map(({ shape, dtype }) => ({ shape, dtype })) });
      return results;
    } finally {
      const own = this.work;
      this.work = before;
      for (const [key, work] of own) this.#add(key, work);
    }
  }

  #add(key: string, more: OpWork): void {
    const work = this.work.get(key);
    if (work === undefined) this.work.set(key, more);
    else {
      this.work.set(key, {
        ...{ stage: work.stage, op: work.op, calls: work.calls + more.calls },
        ...{ flops: work.flops + more.flops, bytes: work.bytes + more.bytes },
        largest: sizeOfCall(more.largest) > sizeOfCall(work.largest) ? more.largest : work.largest,
      });
    }
  }
}

/** As often as that, or that part of it. */
const multiplied = (work: OpWork, times: number): OpWork => ({
  ...work,
  calls: work.calls * times,
  flops: work.flops * times,
  bytes: work.bytes * times,
});

/** Of arithmetic and bytes alike: what an op's time grows with. */
export const sizeOfCall = ({ flops, bytes }: { readonly flops: number; readonly bytes: number }): number =>
  flops + bytes;

class CountedVae extends ViTVae {
  override async encode(x: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const known = await meterOf(x).once(`encode ${describeSpec(x)}`, async () => [await super.encode(x, options)]);
    return known[0]!;
  }
  override async decode(z: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const known = await meterOf(z).once(`decode ${describeSpec(z)}`, async () => [await super.decode(z, options)]);
    return known[0]!;
  }
}

const meterOf = ({ device }: { readonly device: Device }): WorkMeter => device as WorkMeter;

/** Of `dryTransformer`, whose middle layer stands for all between the first and the last. */
function countedTransformer(layers: number) {
  class CountedBlock extends TransformerBlock {
    readonly #layer: number;

    constructor(...[p, model, index, quantized]: ConstructorParameters<typeof TransformerBlock>) {
      super(p, model, index, quantized);
      this.#layer = index;
    }
    override forward(h: Tensor, context: BlockContext): Tensor {
      const times = this.#layer === 1 ? Math.max(1, layers - 2) : 1;
      return meterOf(h).repeated(times, () => super.forward(h, context));
    }
  }
  return class extends VideoDiT {
    constructor(params: Params, config: DitConfig) {
      super(params, config, CountedBlock);
    }
    override forward(input: DitForward, options: RunOptions = {}): Promise<Tensor[]> {
      const { chunks, cached, writes = [], firstOutput = 0, dt } = input;
      const texts = [...new Set(chunks.map(({ text }) => text))];
      const sizes = chunks.map(({ latent, keys, text }) => [latent.shape, keys, texts.indexOf(text), text.shape]);
      const seen = cached === undefined ? 0 : cached.end - cached.first;
      const what = JSON.stringify([sizes, seen, writes.length, firstOutput, dt === null]);
      return meterOf(this).once(`forward ${what}`, () => super.forward(input, options));
    }
  };
}
