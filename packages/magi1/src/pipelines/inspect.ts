// What a model folder holds and what it needs, without loading it.
import type { Device } from '@magi1/tensor';
import { MemoryPlanner } from './memory.ts';
import type { MemoryNeed } from './memory-plan.ts';
import { modelNotes } from './model-folder.ts';
import type { ModelFolder } from './model-folder.ts';
import { openModelFiles } from './model.ts';
import type { WeightDTypes } from './model.ts';
import { NO_PREFIX } from './mode.ts';
import { planRequest } from './prepare.ts';
import { defaultSize } from './run-size.ts';
import type { Settings } from './request.ts';
import type { Trained } from './trained.ts';

export interface PartSummary {
  readonly name: string;
  readonly path: string;
  readonly tensors: number;
  readonly parameters: number;
  /** Parameters by the dtype they are stored in. */
  readonly dtypes: Readonly<Record<string, number>>;
  /** Bytes of the weights on a device. */
  readonly deviceBytes: number;
}

export interface ModelSummary {
  readonly config: string;
  readonly name: string;
  /** What it was trained on, where it says so. */
  readonly trained: Trained | null;
  readonly parts: readonly PartSummary[];
  /** Settings that the config gives, and what they need on a device. */
  readonly defaults: Settings;
  readonly memory: MemoryNeed;
  readonly notes: readonly string[];
}

/** Checks a model as opening it does and sums it up. */
export async function inspectModel(folder: ModelFolder, device: Device, dtype?: WeightDTypes): Promise<ModelSummary> {
  const { settings } = planRequest({}, NO_PREFIX, folder);
  const files = await openModelFiles(folder, dtype);
  await files.close();
  return {
    config: folder.configFile,
    name: folder.config.model_config.model_name,
    trained: folder.trained,
    parts: [files.textEncoder, files.transformer, files.vae].map(({ name, path, entries, deviceBytes }) => {
      const dtypes: Record<string, number> = {};
      let parameters = 0;
      for (const { shape, dtype: stored } of entries.values()) {
        const count = shape.reduce((product, dim) => product * dim, 1);
        parameters += count;
        dtypes[stored] = (dtypes[stored] ?? 0) + count;
      }
      return { name, path, tensors: entries.size, parameters, dtypes, deviceBytes };
    }),
    defaults: settings,
    memory: await new MemoryPlanner(files, device, false).need(defaultSize(folder)),
    notes: modelNotes(folder),
  };
}
