// Runs every golden of the conformance folder on one device, one test a case. Cases in tests/pending.json must fail.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findGoldens, runCase } from '@magi1/core/verify';
import type { CaseResult } from '@magi1/core/verify';
import type { Device } from '@magi1/tensor';
import { conformanceRoots } from './conformance.ts';

interface Pending {
  readonly path: string;
  readonly why: string;
}

const pending = JSON.parse(readFileSync(new URL('../pending.json', import.meta.url), 'utf8')) as Pending[];

/** One line of a result, for a failing test's message. */
const explain = ({ what, maxAbs, relL2, tolerance, detail }: CaseResult): string =>
  `${what}: max abs ${maxAbs ?? '-'}, relative L2 ${relL2 ?? '-'}, tolerance ${tolerance || '-'} ${detail ?? ''}`;

/** Defines the tests; `only` chooses cases by their path. */
export async function conformanceSuite(
  name: string,
  open: () => Promise<Device>,
  only: (path: string) => boolean = () => true,
  { root, kind }: ReturnType<typeof conformanceRoots> = conformanceRoots(),
): Promise<void> {
  const { cases, unaccounted } = await findGoldens(root);
  const chosen = cases.filter(({ path }) => only(path));
  describe(`${kind} conformance on ${name}`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => device.dispose());

    test('there are cases, and pending.json names only cases', () => {
      expect(chosen.length).toBeGreaterThan(0);
      const known = new Set([...cases.map(({ path }) => path), ...unaccounted]);
      if (kind === 'shared') expect(pending.filter(({ path }) => !known.has(path))).toEqual([]);
    });

    test('no file is unknown', () => {
      expect(unaccounted.filter((path) => !pending.some((one) => one.path === path))).toEqual([]);
    });

    for (const found of chosen) {
      const why = pending.find(({ path }) => path === found.path)?.why;
      const title = why === undefined ? found.path : `${found.path} is pending: ${why}`;
      test(title, { timeout: 600_000 }, async () => {
        const result = await runCase(found, { device });
        if (why === undefined) expect(result.status, explain(result)).toBe('pass');
        else expect(result.status, 'it passes: take it off tests/pending.json').toBe('fail');
      });
    }
  });
}

/** The smallest case of every kind: enough to show that a slow device computes each kind rightly. */
export const QUICK_SET: readonly string[] = [
  'dit/scheduler.json',
  'dit/special_tokens.safetensors',
  'dit/tiny-24b/forward.safetensors',
  'dit/tiny-24b/ops.safetensors',
  'dit/tiny-4.5b/sample_t2v_empty_text.safetensors',
  'dit/tiny-fp8/ops_fp8.safetensors',
  'e2e/cases/i2v.safetensors',
  'e2e/cases/t2v_vae_v1.safetensors',
  'e2e/cases/v2v.safetensors',
  'media/image_crop_64x64.safetensors',
  'media/image_fit_64x64.safetensors',
  'media/image_pad_64x64.safetensors',
  'media/prefix_video_fps8_64x64.safetensors',
  'media/scale_rgb24_bicubic.safetensors',
  't5/bad_bin/evil_eval.bin',
  't5/bad_safetensors/ok_no_tensors.safetensors',
  't5/bin/small_f32.bin',
  't5/clean_caption.json',
  't5/clean_components.json',
  't5/encoder_len32.safetensors',
  't5/t5_ops.safetensors',
  't5/text_to_embeddings.safetensors',
  't5/tokenizer/goldens.json',
  'vae/ops.safetensors',
  'vae/tile_plans.json',
  'vae/v1/pipeline_image_fps24.safetensors',
  'vae/v2/encode_image.safetensors',
  'vae/v2/tenc_tile24x40_misaligned.safetensors',
  'vae/v3/encode_native.safetensors',
  'vae/v3/tdec_25.safetensors',
  'vae/v4/decode_native.safetensors',
];
