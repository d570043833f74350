// Loads a ViTVAE folder with its matrices as stored: the kernels widen them exactly.
import type { Device } from '@magi1/tensor';
import { loadWeights, readJson } from '../checkpoint.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { ViTVae } from '../vae/vit-vae.ts';
import { vaeWeightSpecs } from '../vae/weights.ts';

export async function loadVae(folder: string, device: Device): Promise<ViTVae> {
  const config = parseVaeConfig(await readJson(`${folder}/config.json`), `${folder}/config.json`);
  return new ViTVae(config, await loadWeights(folder, vaeWeightSpecs(config), device));
}
