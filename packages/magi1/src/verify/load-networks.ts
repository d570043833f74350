// Loads a VAE's or a T5's folder with its matrices as stored: the kernels widen them exactly.
import type { Device } from '@magi1/tensor';
import { parseT5Config } from '../t5/config.ts';
import { t5Network } from '../t5/encoder.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { loadNetwork, readJson } from './files.ts';

export async function loadVae(folder: string, device: Device): Promise<ViTVae> {
  const file = `${folder}/config.json`;
  return loadNetwork(folder, vaeNetwork(parseVaeConfig(await readJson(file), file)), device);
}

export async function loadT5(folder: string, device: Device): Promise<T5Encoder> {
  const file = `${folder}/config.json`;
  return loadNetwork(folder, t5Network(parseT5Config(await readJson(file), file)), device);
}
