// The blocks of all networks against float64, narrow ones here: every type of weights, on wasm and the first adapter.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIMITS } from './blocks.mjs';
import { checkT5, checkTransformer, checkVae, ditConfig, t5Config, vaeConfig } from './blocks/networks.mjs';
import { capture } from './processes.mjs';
import { testDevices } from '../tests/support/devices.ts';

const NARROW = { hidden_size: 192, num_attention_heads: 6, num_query_groups: 2, kv_channels: 32, caption_channels: 64 };
const dit = ditConfig('4.5B', { ...NARROW, ffn_hidden_size: 384 });
const gated = ditConfig('24B', { ...NARROW, ffn_hidden_size: 256 });
const t5 = t5Config({ d_model: 128, num_heads: 2, d_ff: 192 });
const vae = vaeConfig({ embed_dim: 128, depth: 3, num_heads: 4, use_final_proj: true });
const DTYPES = ['f32', 'bf16', 'f16', 'q8', 'q4'];

for (const { name, open } of testDevices().slice(0, 3)) {
  describe(name, () => {
    let device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(async () => {
      expect(device.memory().tensors).toBe(0);
      await device.dispose();
    });

    it.each(DTYPES)('%s', async (dtype) => {
      const errors = [
        await checkTransformer(device, { config: dit, tokens: 96, dtype, textRows: 9 }),
        await checkTransformer(device, { config: gated, tokens: 60, dtype, textRows: 9 }),
        await checkT5(device, { config: t5, tokens: 21, dtype }),
        await checkVae(device, { config: vae, grid: [2, 3, 4], dtype }),
      ];
      for (const { worst } of errors) expect(worst).toBeLessThan(LIMITS.other);
    });

    it('f8e4m3fn', async () => {
      const { worst, relativeL2 } = await checkTransformer(device, {
        config: dit,
        tokens: 96,
        dtype: 'f8e4m3fn',
        textRows: 9,
      });
      expect(worst).toBeLessThan(LIMITS.f8e4m3fn);
      expect(relativeL2).toBeGreaterThan(0);
    });
  });
}

it('a wrong output is told', async () => {
  const [{ device }] = [{ device: await testDevices()[0].open() }];
  const wrong = { ...dit, model_config: { ...dit.model_config, layernorm_epsilon: 0.1 } };
  const network = await checkTransformer(device, {
    config: wrong,
    compareWith: dit,
    tokens: 24,
    dtype: 'f32',
    textRows: 3,
  });
  expect(network.worst).toBeGreaterThan(LIMITS.other);
  await device.dispose();
});

it.each([
  [['--model', '7B'], /--model: one of 4\.5B, 24B, t5, vae expected, got "7B"/],
  [['--dtype', 'q2'], /--dtype: one of f32, .* expected, got "q2"/],
  [['--tokens', '0'], /--tokens: a whole number from 1 expected, got "0"/],
])('refuses %s', async (args, message) => {
  const { status, stderr } = await capture(process.execPath, [join(import.meta.dirname, 'run.mjs'), 'blocks', ...args]);
  expect(status).toBe(1);
  expect(stderr).toMatch(message);
});
