import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig, parseConfigText, readEnvironment } from './index.ts';
import { publishedConfig } from './published.ts';

function withChange(change: (config: ReturnType<typeof publishedConfig>) => void): ReturnType<typeof publishedConfig> {
  const config = publishedConfig();
  change(config);
  return config;
}
const refuse = (json: unknown): string => {
  try {
    parseConfig(json, 'config.json');
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('was accepted');
};

describe('parseConfig', () => {
  it('keeps the names of the file', () => {
    const config = parseConfig(publishedConfig(), 'config.json');
    expect(config.model_config.hidden_size).toBe(3072);
    expect(config.runtime_config.noise2clean_kvrange).toEqual([5, 4, 3, 2]);
    expect(config.notes).toEqual([]);
  });

  it('names every missing field', () => {
    const json = withChange((c) => {
      delete (c.model_config as Record<string, unknown>).kv_channels;
      delete (c.engine_config as Record<string, unknown>).distill;
    });
    expect(refuse(json)).toBe(
      'config.json: missing model_config.kv_channels, engine_config.distill. Every field of the original format must be there.',
    );
    expect(refuse({ model_config: publishedConfig().model_config })).toContain('missing runtime_config, engine_config');
  });

  it('names the path of wrong types and ranges', () => {
    expect(refuse(withChange((c) => Object.assign(c.runtime_config, { num_steps: '64' })))).toMatch(
      /^config\.json: runtime_config\.num_steps: .*got "64"$/,
    );
    expect(refuse(withChange((c) => (c.runtime_config.num_frames = 0)))).toContain('runtime_config.num_frames');
    expect(refuse(withChange((c) => (c.runtime_config.noise2clean_kvrange[2] = -3)))).toContain(
      'runtime_config.noise2clean_kvrange.2',
    );
    expect(refuse(withChange((c) => (c.runtime_config.clean_chunk_kvrange = 0)))).toContain(
      'runtime_config.clean_chunk_kvrange',
    );
    expect(refuse(withChange((c) => (c.model_config.params_dtype = 'bfloat16')))).toContain(
      'model_config.params_dtype',
    );
    expect(refuse(withChange((c) => Object.assign(c, { engine_config: 3 })))).toContain('engine_config');
    for (const json of [null, [], 'text', 7]) expect(refuse(json)).toContain('expected a JSON object');
    expect(() => parseConfigText('{"a": ', 'x.json')).toThrow('x.json: not valid JSON');
  });

  it.each([
    ['model_config', 'num_layers', 512],
    ['model_config', 'hidden_size', 65536],
    ['model_config', 'caption_max_length', 65536],
    ['runtime_config', 'num_steps', 10_000],
    ['runtime_config', 'chunk_width', 1024],
    ['runtime_config', 'num_frames', 10_000_000],
  ] as const)('bounds %s.%s by %d', (section, field, most) => {
    const json = withChange((c) => Object.assign(c[section], { [field]: most + 1 }));
    expect(refuse(json)).toMatch(new RegExp(`${section}\\.${field}: .*${most} expected, got ${most + 1}`));
    const largest = withChange((c) => Object.assign(c[section], { [field]: most }));
    expect(parseConfig(largest, 'config.json')[section]).toMatchObject({ [field]: most });
  });

  it('refuses contradictions with the remedy', () => {
    expect(refuse(withChange((c) => (c.engine_config.distill = true)))).toContain('set cfg_number to 1');
    expect(refuse(withChange((c) => (c.engine_config.fp8_quant = true)))).toContain('set cfg_number to 1');
    expect(refuse(withChange((c) => (c.runtime_config.cfg_number = 1)))).toContain('set cfg_number to 3');
    expect(refuse(withChange((c) => c.runtime_config.text_scales.pop()))).toContain('got 5, 5, 4 entries');
    expect(refuse(withChange((c) => (c.runtime_config.cfg_t_range[1] = 0.5)))).toContain('start at 0 and rise');
    expect(refuse(withChange((c) => (c.model_config.num_query_groups = 7)))).toContain('multiple of num_query_groups');
  });

  it('notes what has no effect, once, and unknown keys by name', () => {
    const json = withChange((c) => {
      Object.assign(c.engine_config, { cp_size: 8, tensor_parallel: 2, kv_offload: true });
      Object.assign(c, { extra: {} });
    });
    const config = parseConfig(json, 'config.json');
    expect(config.unknownKeys).toEqual(['extra', 'engine_config.tensor_parallel']);
    expect(config.notes).toEqual([
      'unknown settings, ignored: extra, engine_config.tensor_parallel',
      'without effect here, everything runs on one device: cp_size 8',
      expect.stringMatching(/^kv_offload is without effect here/),
    ]);
    expect(
      parseConfig(
        withChange((c) => (c.runtime_config.fps = 30)),
        'c',
      ).notes,
    ).toEqual([expect.stringContaining('fps 30')]);
  });
});

describe('readEnvironment', () => {
  it('is all off and 0.7 by default', () => {
    const { specialTokens, ...rest } = readEnvironment({});
    expect(Object.values(specialTokens).some(Boolean)).toBe(false);
    expect(rest).toEqual({
      specialTokenPath: null,
      prevChunksScale: 0.7,
      offloadT5Cache: false,
      offloadVaeCache: false,
    });
  });

  it('knows the original words for true', () => {
    for (const word of ['1', 'true', 'YES', 'y', 'On', 'enabled'])
      expect(readEnvironment({ PAD_HQ: word }).specialTokens.hq).toBe(true);
    for (const word of ['0', 'false', '', 'ja', '2'])
      expect(readEnvironment({ PAD_HQ: word }).specialTokens.hq).toBe(false);
    expect(readEnvironment({ OFFLOAD_T5_CACHE: '1', OFFLOAD_VAE_CACHE: 'true' })).toMatchObject({
      offloadT5Cache: false,
      offloadVaeCache: true,
    });
  });

  it('reads each switch from its own variable', () => {
    const names = [
      'PAD_STATIC',
      'PAD_DYNAMIC',
      'PAD_BORDERNESS',
      'PAD_HQ',
      'PAD_THREE_D_MODEL',
      'PAD_TWO_D_ANIME',
      'PAD_DURATION',
      'NEG_PROMPT',
    ];
    const on = names.map((name) =>
      Object.entries(readEnvironment({ [name]: '1' }).specialTokens).filter(([, value]) => value),
    );
    expect(on.map((entries) => entries.map(([key]) => key).join())).toEqual([
      'static',
      'dynamic',
      'borderness',
      'hq',
      'threeDModel',
      'twoDAnime',
      'duration',
      'negative',
    ]);
  });

  it('refuses a scale that is not a number', () => {
    expect(readEnvironment({ prev_chunks_scale: '0.4', SPECIAL_TOKEN_PATH: 'a.npz' })).toMatchObject({
      prevChunksScale: 0.4,
      specialTokenPath: 'a.npz',
    });
    expect(() => readEnvironment({ prev_chunks_scale: 'much' })).toThrow(
      'prev_chunks_scale: expected a number, got "much"',
    );
  });
});
