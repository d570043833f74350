// Prompts to token ids against the golden vectors: cleaning, its single steps, the tokenizer from both of its files, and
// all of it at once on the prompts of the end-to-end cases.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer, type Tokenizer } from '@magi1/loaders';
import { describe, expect, it } from 'vitest';
import { basicClean, cleanCaption, cleanPrompt } from './clean-caption.ts';
import { fixText } from './fix-text.ts';
import { htmlUnescape } from './html-entities.ts';
import { htmlText } from './html-text.ts';
import { pythonLower, pythonStrip, unquotePlus } from './python-text.ts';
import { conformanceRoots } from '../../../../../tests/support/conformance.ts';
import { readSafetensors } from '../../../../../tests/support/safetensors-lite.ts';

const { root, kind } = conformanceRoots();
const t5 = join(root, 't5');
const readJson = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

describe('cleaning', () => {
  const { cases } = readJson(join(t5, 'clean_caption.json')) as { cases: { in: string; once: string; out: string }[] };
  it('covers the whole kit', () => expect(cases.length).toBeGreaterThanOrEqual(303));
  it('one pass', () => {
    expect(cases.map((c) => cleanCaption(c.in))).toEqual(cases.map((c) => c.once));
  });
  it('two passes', () => {
    expect(cases.map((c) => cleanPrompt(c.in))).toEqual(cases.map((c) => c.out));
  });

  const components = readJson(join(t5, 'clean_components.json')) as Record<string, { in: string; out: string }[]>;
  it.each<[string, (text: string) => string]>([
    ['ftfy.fix_text', fixText],
    ['basic_clean', basicClean],
    ['html.unescape', htmlUnescape],
    ['BeautifulSoup.text', htmlText],
    ['unquote_plus', unquotePlus],
    ['str.lower', pythonLower],
    ['str.strip', pythonStrip],
  ])('%s alone', (name, step) => {
    const goldens = components[name] ?? [];
    expect(goldens.length).toBeGreaterThan(0);
    expect(goldens.map((c) => step(c.in))).toEqual(goldens.map((c) => c.out));
  });
});

describe('tokenizer', () => {
  interface Goldens {
    encode: { text: string; ids: number[] }[];
    padded: { index: number; max_length: number; input_ids_unpadded: number[]; mask_ones: number }[];
  }
  const folder = join(t5, 'tokenizer');
  const goldens = readJson(join(folder, 'goldens.json')) as Goldens;
  const tokenizers: [string, Tokenizer][] = [
    [
      'spiece.model',
      loadTokenizer({
        spiece: readFileSync(join(folder, 'spiece.model')),
        tokenizerConfig: readFileSync(join(folder, 'tokenizer_config.json'), 'utf8'),
      }),
    ],
    ['tokenizer.json', loadTokenizer({ tokenizerJson: readFileSync(join(folder, 'tokenizer.json'), 'utf8') })],
  ];
  const maskOf = (golden: Goldens['padded'][number]): number[] =>
    Array.from({ length: golden.max_length }, (_, i) => (i < golden.mask_ones ? 1 : 0));

  describe.each(tokenizers)('%s', (_, tokenizer) => {
    it('ids', () => {
      expect(goldens.encode.map(({ text }) => tokenizer.encode(text))).toEqual(goldens.encode.map(({ ids }) => ids));
    });
    it('padding and truncation', () => {
      expect(goldens.padded.length).toBeGreaterThan(0);
      for (const golden of goldens.padded) {
        const text = goldens.encode[golden.index]?.text ?? '';
        const { inputIds, attentionMask } = tokenizer.encodePadded(text, golden.max_length);
        const padding = new Array<number>(golden.max_length - golden.input_ids_unpadded.length).fill(0);
        expect(Array.from(inputIds)).toEqual([...golden.input_ids_unpadded, ...padding]);
        expect(Array.from(attentionMask)).toEqual(maskOf(golden));
      }
    });
  });
});

describe('end to end', () => {
  interface Manifest {
    file: string;
    prompt: string;
    cleaned_once: string;
    cleaned_prompt: string;
  }
  const cases = join(root, 'e2e', 'cases');
  const model = join(root, 'e2e', 'tiny', 't5', 't5-v1_1-xxl');
  const names = existsSync(cases) ? readdirSync(cases).filter((name) => name.endsWith('.manifest.json')) : [];

  // The repository's own fixtures may come without them.
  it('finds the cases of the shared kit', () => expect(names.length > 0 || kind === 'fixtures').toBe(true));

  for (const name of names) {
    it(name, () => {
      const manifest = readJson(join(cases, name)) as Manifest;
      expect(cleanCaption(manifest.prompt)).toBe(manifest.cleaned_once);
      expect(cleanPrompt(manifest.prompt)).toBe(manifest.cleaned_prompt);
      const tensors = readSafetensors(join(cases, manifest.file));
      const goldenIds = tensors.get('input_ids');
      const goldenMask = tensors.get('attention_mask');
      if (!goldenIds || !goldenMask) return; // a case that shares its inputs with another
      const tokenizer = loadTokenizer({ spiece: readFileSync(join(model, 'spiece.model')) });
      const { inputIds, attentionMask } = tokenizer.encodePadded(manifest.cleaned_prompt, goldenIds.shape[1] ?? 0);
      expect(inputIds).toEqual(goldenIds.data);
      expect(attentionMask).toEqual(goldenMask.data);
    });
  }
});
