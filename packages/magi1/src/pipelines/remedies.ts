// What a user may try when a run meets values that are not finite.
import type { GenerationOptions } from './request.ts';

/** What a request itself gives reason to change, in words for the error. */
export function remediesOf({ guidanceScale, latents }: GenerationOptions, loras: number): string[] {
  return [
    ...(typeof guidanceScale === 'number' ? ['a smaller guidance scale'] : []),
    ...(latents === undefined ? [] : ['other latents']),
    ...(loras === 0 ? [] : ['no LoRA']),
  ];
}
