// Reads and checks a config.json of the original's format. Bad settings are refused here, before any work.
import { Magi1Error } from '@magi1/tensor';
import { fieldFaults, isRecord, kindOf } from './fields.ts';
import { SECTIONS } from './schema.ts';
import type { EngineConfig, ModelConfig, RuntimeConfig, SectionName } from './schema.ts';

export interface Magi1Config {
  readonly model_config: ModelConfig;
  readonly runtime_config: RuntimeConfig;
  readonly engine_config: EngineConfig;
  /** Keys of the file that no one reads, as dotted paths. */
  readonly unknownKeys: readonly string[];
  /** Warnings, shown once: unknown keys, settings without effect here. */
  readonly notes: readonly string[];
}

/** A config file that cannot be used, and what to change in it. */
export class ConfigError extends Magi1Error {
  override name = 'ConfigError';
}

/**
 * Checks parsed JSON against the original's format.
 * @param sourceName what to call the file in messages
 * @throws ConfigError naming the fields that are missing, of the wrong type or range, or contradict each other
 */
export function parseConfig(json: unknown, sourceName: string): Magi1Config {
  if (!isRecord(json)) throw new ConfigError(`${sourceName}: expected a JSON object, got ${kindOf(json)}`);
  refuseMissing(json, sourceName);
  const faults = SECTION_NAMES.flatMap((section) => {
    const fields = json[section];
    if (!isRecord(fields)) return [`${section}: an object expected, got ${kindOf(fields)}`];
    return fieldFaults(fields, SECTIONS[section], `${section}.`);
  });
  if (faults.length > 0) throw new ConfigError(`${sourceName}: ${shown(faults)}`);
  const config = Object.fromEntries(
    SECTION_NAMES.map((section) => [section, known(json, section)]),
  ) as never as Sections;
  const contradiction = findContradiction(config);
  if (contradiction !== null) throw new ConfigError(`${sourceName}: ${contradiction}`);
  const unknownKeys = findUnknownKeys(json);
  return { ...config, unknownKeys, notes: collectNotes(config, unknownKeys) };
}

/** Parses the text of a config file. */
export function parseConfigText(text: string, sourceName: string): Magi1Config {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${sourceName}: not valid JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  return parseConfig(json, sourceName);
}

const SECTION_NAMES = Object.keys(SECTIONS) as SectionName[];

/** The fields that are read. */
function known(json: Record<string, unknown>, section: SectionName): Record<string, unknown> {
  const given = json[section] as Record<string, unknown>;
  return Object.fromEntries(Object.keys(SECTIONS[section]).map((name) => [name, given[name]]));
}

const MOST_SHOWN = 3;

function shown(faults: readonly string[]): string {
  const more = faults.length > MOST_SHOWN ? `; and ${faults.length - MOST_SHOWN} more` : '';
  return `${faults.slice(0, MOST_SHOWN).join('; ')}${more}`;
}

function refuseMissing(json: Record<string, unknown>, sourceName: string): void {
  const missing = SECTION_NAMES.flatMap((section) => {
    const fields = json[section];
    if (fields === undefined) return [section];
    if (!isRecord(fields)) return [];
    return Object.keys(SECTIONS[section])
      .filter((key) => fields[key] === undefined)
      .map((key) => `${section}.${key}`);
  });
  if (missing.length > 0)
    throw new ConfigError(
      `${sourceName}: missing ${missing.join(', ')}. Every field of the original format must be there.`,
    );
}

function findUnknownKeys(json: Record<string, unknown>): string[] {
  const top = Object.keys(json).filter((key) => !Object.hasOwn(SECTIONS, key));
  const inner = SECTION_NAMES.flatMap((section) =>
    Object.keys(json[section] as object)
      .filter((key) => !Object.hasOwn(SECTIONS[section], key))
      .map((key) => `${section}.${key}`),
  );
  return [...top, ...inner];
}

type Sections = Pick<Magi1Config, SectionName>;

/** The first setting that contradicts another, with the remedy; null if there is none. */
function findContradiction({
  model_config: model,
  runtime_config: runtime,
  engine_config: engine,
}: Sections): string | null {
  const expectedCfg = engine.fp8_quant || engine.distill ? 1 : 3;
  if (runtime.cfg_number !== expectedCfg) {
    const why = `fp8_quant is ${engine.fp8_quant} and distill is ${engine.distill}`;
    return `runtime_config.cfg_number is ${runtime.cfg_number}, but engine_config.${why}: set cfg_number to ${expectedCfg}${
      expectedCfg === 3 ? ', or distill to true if this is a distilled checkpoint' : ''
    }.`;
  }
  const lengths = [runtime.cfg_t_range.length, runtime.prev_chunk_scales.length, runtime.text_scales.length];
  if (new Set(lengths).size > 1)
    return `runtime_config.cfg_t_range, prev_chunk_scales and text_scales need one entry per range each, got ${lengths.join(', ')} entries.`;
  if (runtime.cfg_t_range.some((t, i, all) => (i === 0 ? t > 0 : t <= all[i - 1]!)))
    return `runtime_config.cfg_t_range must start at 0 and rise, got [${runtime.cfg_t_range.join(', ')}].`;
  if (model.num_attention_heads % model.num_query_groups !== 0)
    return `model_config.num_attention_heads (${model.num_attention_heads}) must be a multiple of num_query_groups (${model.num_query_groups}).`;
  if ((model.num_attention_heads * model.kv_channels) % 8 !== 0)
    return `model_config.num_attention_heads x kv_channels must be a multiple of 8, got ${model.num_attention_heads} x ${model.kv_channels}.`;
  if (!Number.isInteger(model.cond_hidden_ratio * model.hidden_size))
    return `model_config.cond_hidden_ratio x hidden_size must be whole, got ${model.cond_hidden_ratio} x ${model.hidden_size}.`;
  if (model.half_channel_vae && (model.in_channels % 2 !== 0 || model.out_channels % 2 !== 0))
    return `model_config.half_channel_vae needs even in_channels and out_channels, got ${model.in_channels} and ${model.out_channels}.`;
  return null;
}

function collectNotes(
  { runtime_config: runtime, engine_config: engine }: Sections,
  unknownKeys: readonly string[],
): string[] {
  const notes: string[] = [];
  if (unknownKeys.length > 0) notes.push(`unknown settings, ignored: ${unknownKeys.join(', ')}`);
  // distributed_backend, distributed_timeout_minutes and cp_strategy mean nothing on one device either way.
  const inert = [
    ...(engine.pp_size > 1 ? [`pp_size ${engine.pp_size}`] : []),
    ...(engine.cp_size > 1 ? [`cp_size ${engine.cp_size}`] : []),
    ...(engine.ulysses_overlap_degree > 1 ? [`ulysses_overlap_degree ${engine.ulysses_overlap_degree}`] : []),
    ...(engine.enable_cuda_graph ? ['enable_cuda_graph true'] : []),
  ];
  if (inert.length > 0) notes.push(`without effect here, everything runs on one device: ${inert.join(', ')}`);
  if (engine.kv_offload)
    notes.push('kv_offload is without effect here: keys and values stay on the device, of chunks still looked at only');
  const nativeFps = runtime.chunk_width * runtime.temporal_downsample_factor;
  if (runtime.fps !== nativeFps)
    notes.push(
      `fps ${runtime.fps} changes the speed of playback only: a chunk of ${nativeFps} frames stands for one second of motion`,
    );
  return notes;
}
