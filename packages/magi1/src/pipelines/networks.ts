// The networks on the device: loaded when a stage needs them, and freed between stages where memory is short.
import type { Device } from '@magi1/tensor';
import type { T5Encoder } from '../t5/encoder.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { formatBytes } from './format-bytes.ts';
import type { Residency } from './memory.ts';
import type { ModelParts, Part } from './parts.ts';
import { StageProgress } from './progress.ts';
import type { ProgressListener } from './progress.ts';

export interface NetworkOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

type Slot = 'textEncoder' | 'transformer' | 'vae';

export class Networks {
  residency: Residency;
  /** Seconds spent loading so far. */
  loadingSeconds = 0;
  readonly #parts: ModelParts;
  readonly #device: Device;
  readonly #loaded = new Map<Slot, { dispose(): void }>();

  constructor(parts: ModelParts, device: Device, residency: Residency) {
    this.#parts = parts;
    this.#device = device;
    this.residency = residency;
  }

  /** Loads all that stays, so that the first run need not. */
  async loadResident(options: NetworkOptions): Promise<void> {
    if (this.residency === 'all') await this.#need(['textEncoder', 'transformer', 'vae'], options);
  }

  async textEncoder(options: NetworkOptions): Promise<T5Encoder> {
    if (this.residency === 'staged') this.#free('transformer', 'vae');
    await this.#need(['textEncoder'], options);
    return this.#loaded.get('textEncoder') as unknown as T5Encoder;
  }

  async generators(options: NetworkOptions): Promise<{ transformer: VideoDiT; vae: ViTVae }> {
    if (this.residency === 'staged') this.#free('textEncoder');
    await this.#need(['transformer', 'vae'], options);
    return {
      transformer: this.#loaded.get('transformer') as unknown as VideoDiT,
      vae: this.#loaded.get('vae') as unknown as ViTVae,
    };
  }

  dispose(): void {
    this.#free('textEncoder', 'transformer', 'vae');
  }

  #free(...slots: readonly Slot[]): void {
    for (const slot of slots) {
      this.#loaded.get(slot)?.dispose();
      this.#loaded.delete(slot);
    }
  }

  async #need(slots: readonly Slot[], { signal, onProgress }: NetworkOptions): Promise<void> {
    const missing = slots.filter((slot) => !this.#loaded.has(slot));
    if (missing.length === 0) return;
    const parts: Part<{ dispose(): void }>[] = missing.map((slot) => this.#parts[slot]);
    const progress = new StageProgress(
      'loading',
      parts.reduce((sum, part) => sum + part.deviceBytes, 0),
      onProgress,
    );
    let before = 0;
    for (const [i, part] of parts.entries()) {
      const detail = `${part.name} (${formatBytes(part.deviceBytes)})`;
      const network = await part.load(this.#device, {
        signal,
        onProgress: ({ bytes, total }) => progress.at(before + (part.deviceBytes * bytes) / Math.max(1, total), detail),
      });
      this.#loaded.set(missing[i]!, network);
      before += part.deviceBytes;
    }
    this.loadingSeconds += progress.seconds;
  }
}
