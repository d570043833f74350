// The trace of a sampling loop in the format of scheduler.json's `walk`, made from our plan.
// In it noise frame f carries the number f and prefix frame f carries 1000 + f.
import { z } from 'zod';
import { readEnvironment } from '../config/environment.ts';
import { LATENT_STRIDE, latentChannels } from '../config/latents.ts';
import { publishedConfig } from '../config/published.ts';
import { inTokens, type ChunkRange } from '../sampler/key-ranges.ts';
import { samplingOptions, tokensPerChunk } from '../sampler/options.ts';
import type { LinspaceRounding } from '../sampler/linspace.ts';
import { planSampling, type SamplingPlan, type SamplingStep } from '../sampler/schedule.ts';
import { captionTokenKeys } from '../text/special-tokens.ts';
import { NULL_TEXT_ROWS } from '../text/conditioning.ts';

const { model_config: MODEL, runtime_config: RUNTIME, engine_config: ENGINE } = publishedConfig();

export const scenarioSchema = z.object({
  runtime: z.object({
    num_frames: z.number(),
    num_steps: z.number(),
    window_size: z.number(),
    chunk_width: z.number(),
    noise2clean_kvrange: z.array(z.number()),
    clean_chunk_kvrange: z.number(),
    clean_t: z.number(),
    video_size_h: z.number(),
    video_size_w: z.number(),
    cfg_number: z.union([z.literal(1), z.literal(3)]),
    cfg_t_range: z.array(z.number()).default(RUNTIME.cfg_t_range),
    prev_chunk_scales: z.array(z.number()).default(RUNTIME.prev_chunk_scales),
    text_scales: z.array(z.number()).default(RUNTIME.text_scales),
    temporal_downsample_factor: z.number().default(RUNTIME.temporal_downsample_factor),
  }),
  engine: z.object({
    shortcut_mode: z.string(),
    distill: z.boolean(),
    distill_nearly_clean_chunk_threshold: z.number().default(ENGINE.distill_nearly_clean_chunk_threshold),
  }),
  prefix_len: z.number(),
  env: z.record(z.string(), z.string()).default({}),
  txt_len: z.number(),
  caption_max_length: z.number().default(MODEL.caption_max_length),
});
export type Scenario = z.infer<typeof scenarioSchema>;

interface TextCounts {
  readonly caption: number;
  readonly nullText: number;
  readonly emptyText: boolean;
}

function countText({ env, txt_len, caption_max_length }: Scenario): TextCounts {
  const nullText = Math.min(NULL_TEXT_ROWS, caption_max_length);
  const caption = txt_len + captionTokenKeys(readEnvironment(env).specialTokens).length;
  return { caption: Math.min(caption, caption_max_length), nullText, emptyText: caption === 0 };
}

/** Plans a scenario of scheduler.json. */
export function planScenario(scenario: Scenario, rounding?: LinspaceRounding): SamplingPlan {
  const { runtime, engine, prefix_len } = scenario;
  const options = samplingOptions(
    { runtime_config: runtime, engine_config: engine },
    { prefixLatentFrames: prefix_len, emptyText: countText(scenario).emptyText },
  );
  return planSampling({ ...options, ...(rounding === undefined ? {} : { rounding }) });
}

/** The facts that a scenario's trace records, beside its inputs. */
export function traceScenario(scenario: Scenario, rounding?: LinspaceRounding) {
  const { runtime } = scenario;
  const plan = planScenario(scenario, rounding);
  const { chunks, chunkWidth } = plan.options;
  const tokens = tokensPerChunk(runtime.video_size_h, runtime.video_size_w, chunkWidth, MODEL);
  const text = countText(scenario);
  const captionValid = (chunk: number): number =>
    text.emptyText ? text.nullText : chunk < plan.chunkOffset ? 0 : text.caption;
  const trace = new Trace(scenario, plan, tokens, text);
  return {
    chunk_num: chunks,
    latent_size: [
      1,
      latentChannels(MODEL),
      plan.latentFrames,
      runtime.video_size_h / LATENT_STRIDE,
      runtime.video_size_w / LATENT_STRIDE,
    ],
    total_forward_step: plan.steps.length,
    max_sequence_length: chunks * tokens,
    text_valid: [
      Array.from({ length: chunks }, (_, chunk) => captionValid(chunk)),
      Array.from({ length: chunks }, () => text.nullText),
    ],
    extract_prefix_call: trace.prefix(),
    steps: plan.steps.map((step) => trace.step(step)),
    yields: trace.yields(),
  };
}

class Trace {
  readonly #scenario: Scenario;
  readonly #plan: SamplingPlan;
  readonly #tokens: number;
  readonly #text: TextCounts;

  constructor(scenario: Scenario, plan: SamplingPlan, tokens: number, text: TextCounts) {
    this.#scenario = scenario;
    this.#plan = plan;
    this.#tokens = tokens;
    this.#text = text;
  }

  step(step: SamplingStep) {
    const noisy = step.chunks.filter((chunk) => !chunk.clean);
    return {
      step: step.index,
      denoise_step_per_stage: this.#plan.stepsPerStage,
      denoise_stage: step.stageIndex,
      denoise_idx: step.stageStep,
      chunk_offset: this.#plan.chunkOffset,
      chunk_start: step.stage.chunkStart,
      chunk_end: step.stage.chunkEnd,
      t_start: step.stage.tStart,
      t_end: step.stage.tEnd,
      denoise_step_of_each_chunk: step.chunks.map((chunk) => chunk.stepIndex),
      forward: {
        frames: this.#frames(
          step.slicePoint * this.#plan.options.chunkWidth,
          step.stage.chunkEnd * this.#plan.options.chunkWidth,
        ),
        t: step.chunks.map((chunk) => chunk.t),
        kv_range_tokens: this.#inTokens(step.chunks.map((chunk) => chunk.keys)),
        slice_point: step.slicePoint,
        range_num: step.stage.chunkEnd,
        denoising_range_num: step.chunks.length,
        fwd_extra_1st_chunk: step.hasCleanChunk,
        extract_prefix_video_feature: false,
        distill_nearly_clean_chunk: step.nearlyClean,
        distill_interval: step.distillInterval,
        ...this.#textRows(step.chunks.map((chunk) => chunk.text)),
      },
      integrate: {
        t_before: noisy.map((chunk) => chunk.t),
        t_after: noisy.map((chunk) => chunk.tNext),
        chunks: noisy.length,
      },
    };
  }

  prefix() {
    const { prefix, chunkOffset, options } = this.#plan;
    if (!prefix) return null;
    return {
      frames: this.#frames(0, chunkOffset * options.chunkWidth),
      t: prefix.keys.map(() => prefix.t),
      kv_range_tokens: this.#inTokens(prefix.keys),
      slice_point: 0,
      range_num: chunkOffset,
      denoising_range_num: chunkOffset,
      fwd_extra_1st_chunk: false,
      extract_prefix_video_feature: true,
      distill_nearly_clean_chunk: null,
      distill_interval: prefix.distillInterval,
      ...this.#textRows(prefix.keys.map(() => 'null')),
    };
  }

  yields() {
    return this.#plan.steps.flatMap(({ index, finished }) => {
      if (!finished) return [];
      const ids = this.#frames(...finished.frames);
      return [{ after_step: index + 1, chunk_idx: finished.order, frames: ids.length, frame_ids: ids }];
    });
  }

  #frames(start: number, end: number): number[] {
    return Array.from(
      { length: end - start },
      (_, i) => (start + i < this.#scenario.prefix_len ? 1000 : 0) + start + i,
    );
  }

  #inTokens(ranges: readonly ChunkRange[]) {
    return ranges.map((range) => inTokens(range, this.#tokens));
  }

  #textRows(texts: readonly ('caption' | 'null')[]) {
    const { caption, nullText } = this.#text;
    return {
      num_steps: this.#plan.options.numSteps,
      text_row0: texts,
      text_row1: texts.map(() => 'null'),
      text_valid_row0: texts.map((text) => (text === 'caption' ? caption : nullText)),
      text_valid_row1: texts.map(() => nullText),
    };
  }
}
