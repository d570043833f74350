// Every config file of the original's format that is at hand parses: the conformance kit's and the published ones.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './index.ts';
import { PUBLISHED_MODELS, publishedConfig } from './published.ts';
import { planSampling, samplingOptions } from '../sampler/index.ts';
import { conformanceRoots } from '../../../../tests/support/conformance.ts';

/** Path and content of every JSON file that holds an original config, by itself or as a manifest's `config`. */
function configsBelow(folder: string): [path: string, json: unknown][] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
  return names.flatMap((name): [string, unknown][] => {
    const path = join(folder, name);
    const text = readFileSync(path, 'utf8');
    if (!text.includes('"engine_config"')) return [];
    const json = JSON.parse(text) as { engine_config?: unknown; config?: unknown };
    return [[name, json.engine_config === undefined ? json.config : json]];
  });
}

const { root } = conformanceRoots();
const published = join(root, '..', 'data', 'configs');

describe('original configs', () => {
  const kit = configsBelow(root);
  it('are found', () => expect(kit.length).toBeGreaterThanOrEqual(4));

  it.each(kit)('%s parses and plans', (name, json) => {
    const config = parseConfig(json, name);
    expect(config.notes).toEqual([]);
    expect(planSampling(samplingOptions(config)).steps.length).toBeGreaterThan(0);
  });

  it.each(existsSync(published) ? PUBLISHED_MODELS : [])('that of %s is the one built in', (model) => {
    const json = JSON.parse(readFileSync(join(published, `${model}_config.json`), 'utf8')) as ReturnType<
      typeof publishedConfig
    >;
    // Without effect here, and different from model to model.
    json.runtime_config.t5_device = 'cpu';
    Object.assign(json.engine_config, { kv_offload: false, cp_size: 1 });
    expect(publishedConfig(model)).toEqual(json);
  });

  it.each(existsSync(published) ? configsBelow(published) : [])('published %s parses and plans', (name, json) => {
    const config = parseConfig(json, name);
    expect(config.unknownKeys).toEqual([]);
    expect(config.notes).toHaveLength(name.startsWith('24B') ? 2 : 1);
    expect(config.notes.join()).toContain('kv_offload is without effect');
    expect(planSampling(samplingOptions(config)).maxCachedChunks).toBe(1);
  });
});
