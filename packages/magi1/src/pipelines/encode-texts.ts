// All texts of a run to T5 features, and how they read in the facts of the run.
import type { LaterCaption, TextRows } from '../text/conditioning.ts';
import type { EncodedPrompt, Facts } from './result.ts';
import type { TextSource, Texts } from './texts.ts';

export interface EncodedTexts {
  readonly caption: TextRows;
  readonly laterCaptions: readonly LaterCaption[];
  readonly negative: TextRows | undefined;
  readonly notes: readonly string[];
  readonly facts: Pick<Facts, 'prompt' | 'cleanedPrompt' | 'chunkPrompts' | 'negativePrompt'>;
}

/** Encodes one after the other; embeddings are taken as they are. */
export async function encodeTexts(
  texts: Texts,
  maxLength: number,
  encode: (prompt: string) => Promise<EncodedPrompt>,
): Promise<EncodedTexts> {
  const notes: string[] = [];
  const rowsOf = async (source: TextSource, what: string) => {
    if ('embeds' in source) return { ...source.embeds, prompt: null, cleaned: null };
    const encoded = await encode(source.prompt);
    if (encoded.truncated) notes.push(`the ${what} was cut to ${maxLength} tokens`);
    return { ...encoded, prompt: source.prompt };
  };
  const caption = await rowsOf(texts.caption, 'prompt');
  const later = [];
  for (const { chunk, source } of texts.later)
    later.push({ chunk, caption: await rowsOf(source, `prompt of chunk ${chunk}`) });
  const negative = texts.negative && (await rowsOf(texts.negative, 'negative prompt'));
  return {
    caption,
    laterCaptions: later,
    negative,
    notes,
    facts: {
      prompt: caption.prompt,
      cleanedPrompt: caption.cleaned,
      chunkPrompts: later.map(({ chunk, caption: { prompt } }) => ({ chunk, prompt })),
      negativePrompt: negative?.prompt ?? null,
    },
  };
}
