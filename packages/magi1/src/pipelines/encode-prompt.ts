// A prompt to T5 features: cleaned, tokenised, encoded.
import { refuseNotFinite } from '../not-finite.ts';
import { cleanPromptInTurns } from '../text/clean/clean-caption.ts';
import type { LoadingOptions, Networks } from './networks.ts';
import type { ModelParts } from './parts.ts';
import type { EncodedPrompt } from './result.ts';

export interface EncodePromptOptions extends LoadingOptions {
  readonly maxSequenceLength: number;
}

/**
 * Valid rows only.
 * @throws NotFiniteError where the text encoder gives anything else than numbers
 */
export async function encodePrompt(
  { networks, parts }: { readonly networks: Networks; readonly parts: ModelParts },
  prompt: string,
  { maxSequenceLength: maxLength, signal, loading }: EncodePromptOptions,
): Promise<EncodedPrompt> {
  const { caption_channels: width } = parts.source.config.model_config;
  const cleaned = await cleanPromptInTurns(prompt, signal);
  const { inputIds, attentionMask } = parts.tokenizer.encodePadded(cleaned, maxLength);
  const length = attentionMask.indexOf(0) < 0 ? maxLength : attentionMask.indexOf(0);
  const truncated = length === maxLength && parts.tokenizer.encode(cleaned).length > maxLength;
  using held = await networks.textEncoder({ signal, loading });
  const { textEncoder } = held.networks;
  // Masked keys are seen by no row: padding need not be run.
  const hidden = await textEncoder.encode(inputIds.slice(0, length), attentionMask.slice(0, length), { signal });
  try {
    const rows = (await hidden.toFloat32()).subarray(0, length * width);
    refuseNotFinite(rows, { stage: 'text', what: 'the features of the prompt' });
    return { rows, length, cleaned, truncated };
  } finally {
    hidden.dispose();
  }
}
