// What is kept of a run: types only.
import type { SamplerState } from '../sampler/sample.ts';

/** What decides a run's latents, by name; hashes where a value is long. */
export type RunIdentity = Readonly<Record<string, string>>;

/** A run as far as it has come; `encodeRunState` makes a file of it. */
export interface RunState extends SamplerState {
  readonly identity: RunIdentity;
  /** Chunks before this one, among those that are made, came of an earlier run, of which this one redoes the end. */
  readonly firstChunk: number;
  /** Where it was computed: elsewhere the last bits may differ. */
  readonly device: string;
}
