// Compares the sampler's plain data with a file in the format of the conformance kit's scheduler.json.
import { z } from 'zod';
import { guidanceScales } from '../sampler/guidance.ts';
import { inTokens, prefixKeyRanges } from '../sampler/key-ranges.ts';
import { LINSPACE_ROUNDINGS } from '../sampler/linspace.ts';
import type { LinspaceRounding } from '../sampler/linspace.ts';
import { planStages } from '../sampler/stages.ts';
import { distillIntervals, initT, type TimestepSchedule } from '../sampler/timesteps.ts';
import { firstDifference, type VerifyResult } from './json-difference.ts';
import { scenarioSchema, traceScenario } from './walk.ts';

const numbers = z.array(z.number());
const fileSchema = z.strictObject({
  provenance: z.string().optional(),
  notes: z.unknown().optional(),
  init_t: z.record(z.string(), numbers).default({}),
  init_intervel: z.record(z.string(), numbers).default({}),
  generate_sequences: z
    .array(
      z.object({
        chunk_num: z.number(),
        window_size: z.number(),
        chunk_offset: z.number(),
        clip_start: numbers,
        clip_end: numbers,
        t_start: numbers,
        t_end: numbers,
      }),
    )
    .default([]),
  get_cfg_scale: z
    .object({
      cfg_t_range: numbers,
      prev_chunk_scales: numbers,
      text_scales: numbers,
      table: z.array(
        z.object({ t: z.number(), prev_chunk_scale: z.number(), text_scale: z.number(), index: z.number() }),
      ),
    })
    .optional(),
  prefix_kvrange: z
    .array(
      z.object({
        noise2clean_kvrange: numbers,
        clean_chunk_kvrange: z.number(),
        range_num: z.number(),
        chunk_tokens: z.number(),
        kv_range: z.array(numbers),
      }),
    )
    .default([]),
  walk: z.record(z.string(), z.looseObject({})).default({}),
});
type SchedulerFile = z.infer<typeof fileSchema>;

/**
 * Checks every entry of a scheduler file, exactly. Times must be those of one machine that PyTorch runs on: where i/N is no
 * float32, its versions and their vector units differ in the last bits. A file in another format gives one failed entry that
 * says what is wrong with it.
 */
export function verifyScheduler(json: unknown): VerifyResult[] {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) return [{ what: 'format', pass: false, detail: firstIssue(parsed.error) }];
  const file = parsed.data;
  const alternatives = LINSPACE_ROUNDINGS.map((rounding) => compareWithTimes(file, rounding));
  const failures = (results: readonly VerifyResult[]) => results.filter(({ pass }) => !pass).length;
  const timed = alternatives.reduce((best, other) => (failures(other) < failures(best) ? other : best));
  return [
    ...timed,
    ...Object.entries(file.init_intervel).map(([key, expected]) =>
      check(`init_intervel ${key}`, () => compareIntervals(key, expected)),
    ),
    ...file.generate_sequences.map(compareSequence),
    ...compareGuidance(file.get_cfg_scale),
    ...file.prefix_kvrange.map(comparePrefix),
  ];
}

function compareWithTimes(file: SchedulerFile, rounding: LinspaceRounding): VerifyResult[] {
  return [
    ...Object.entries(file.init_t).map(([key, expected]) =>
      check(`init_t ${key}`, () => compareTimes(key, expected, rounding)),
    ),
    ...Object.entries(file.walk).map(([name, walk]) => check(`walk ${name}`, () => compareWalk(walk, rounding))),
  ];
}

/** Runs one comparison; what it throws is a failure of that entry. */
function check(what: string, difference: () => string | null): VerifyResult {
  try {
    const detail = difference();
    return { what, pass: detail === null, detail: detail ?? 'equal' };
  } catch (error) {
    return { what, pass: false, detail: error instanceof Error ? error.message : String(error) };
  }
}

function firstIssue(error: z.ZodError): string {
  const issue = error.issues[0]!;
  return `${issue.path.join('.') || 'file'}: ${issue.message}`;
}

const SCHEDULE_NAME = /^(sd3|square|piecewise|identity)(?:_shift(\d+(?:\.\d+)?))?$/;

/** Keys read `steps|shortcut_mode|schedule`, the schedule optionally with `_shift<s>`. */
function compareTimes(key: string, expected: number[], rounding: LinspaceRounding): string | null {
  const [steps, mode, schedule] = key.split('|');
  const match = SCHEDULE_NAME.exec(schedule ?? '');
  if (mode === undefined || !match) throw new Error(`unknown schedule "${schedule ?? ''}"`);
  const shift = match[2] === undefined ? undefined : Number(match[2]);
  const times = Array.from(initT(Number(steps), mode, match[1] as TimestepSchedule, shift, rounding));
  return firstDifference(expected, times);
}

function compareIntervals(key: string, expected: number[]): string | null {
  const [steps, mode = ''] = key.split('|');
  return firstDifference(expected, distillIntervals(Number(steps), mode));
}

function compareSequence(expected: SchedulerFile['generate_sequences'][number]): VerifyResult {
  const { chunk_num, window_size, chunk_offset } = expected;
  return check(`generate_sequences chunks ${chunk_num} window ${window_size} offset ${chunk_offset}`, () => {
    const stages = planStages(chunk_num, window_size, chunk_offset);
    return firstDifference(expected, {
      chunk_num,
      window_size,
      chunk_offset,
      clip_start: stages.map((stage) => stage.chunkStart),
      clip_end: stages.map((stage) => stage.chunkEnd),
      t_start: stages.map((stage) => stage.tStart),
      t_end: stages.map((stage) => stage.tEnd),
    });
  });
}

function compareGuidance(section: SchedulerFile['get_cfg_scale']): VerifyResult[] {
  if (!section) return [];
  const table = {
    cfgTRange: section.cfg_t_range,
    prevChunkScales: section.prev_chunk_scales,
    textScales: section.text_scales,
  };
  return section.table.map((expected) =>
    check(`get_cfg_scale t ${expected.t}`, () => {
      const { index, prevChunk, text } = guidanceScales(table, expected.t);
      return firstDifference(expected, { t: expected.t, prev_chunk_scale: prevChunk, text_scale: text, index });
    }),
  );
}

function comparePrefix(expected: SchedulerFile['prefix_kvrange'][number]): VerifyResult {
  const { noise2clean_kvrange, clean_chunk_kvrange, range_num, chunk_tokens } = expected;
  return check(
    `prefix_kvrange [${noise2clean_kvrange.join(',')}] clean ${clean_chunk_kvrange} chunks ${range_num}`,
    () => {
      const ranges = prefixKeyRanges(range_num, {
        noise2cleanKvRange: noise2clean_kvrange,
        cleanChunkKvRange: clean_chunk_kvrange,
      });
      return firstDifference(
        expected.kv_range,
        ranges.map((range) => inTokens(range, chunk_tokens)),
      );
    },
  );
}

function compareWalk(walk: Record<string, unknown>, rounding: LinspaceRounding): string | null {
  const trace = traceScenario(scenarioSchema.parse(walk), rounding);
  const { runtime, engine, prefix_len, env, txt_len, caption_max_length } = walk;
  return firstDifference(walk, { runtime, engine, prefix_len, env, txt_len, caption_max_length, ...trace });
}
