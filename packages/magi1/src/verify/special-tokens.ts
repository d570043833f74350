// Compares special-token padding with a golden in the format of the conformance kit's special_tokens.safetensors.
import { toFloat32, type HostTensor } from '@magi1/tensor';
import { z } from 'zod';
import { readEnvironment } from '../config/environment.ts';
import {
  captionTokenKeys,
  negativeTokenKeys,
  prependTokens,
  resolveTokens,
  type SpecialTokenName,
} from '../text/special-tokens.ts';
import { conditionText, NULL_TEXT_ROWS } from '../text/conditioning.ts';
import { firstDifference, type VerifyResult } from './json-difference.ts';

const caseSchema = z.object({
  env: z.record(z.string(), z.string()),
  infer_chunk_num: z.int(),
  clean_chunk_num: z.int(),
  special_token_keys: z.array(z.string()),
  negative_keys: z.array(z.string()).nullable(),
  text_len_after: z.int(),
});
const manifestSchema = z.object({
  info: z.record(z.string(), caseSchema),
  tensors: z.record(z.string(), z.object({ meaning: z.string().default('') })),
});
type Case = z.infer<typeof caseSchema>;

type Tensors = ReadonlyMap<string, HostTensor>;

/** Checks every case of a special-token golden, bit for bit. */
export function verifySpecialTokens(tensors: Tensors, manifest: unknown): VerifyResult[] {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    return [{ what: 'special tokens', pass: false, detail: `manifest ${issue.path.join('.')}: ${issue.message}` }];
  }
  const { info, tensors: described } = parsed.data;
  return Object.entries(info).map(([name, golden]) => {
    const what = `special tokens ${name}`;
    try {
      const captionValid = validCaptionRows(described, info, tensors);
      const difference = compareCase(tensors, name, golden, captionValid);
      return { what, pass: difference === null, detail: difference ?? 'equal' };
    } catch (error) {
      return { what, pass: false, detail: error instanceof Error ? error.message : String(error) };
    }
  });
}

/** How many rows of the caption are text: the manifest says so in words, else a case without tokens shows it. */
function validCaptionRows(
  described: Record<string, { meaning: string }>,
  info: Record<string, Case>,
  tensors: Tensors,
): number {
  const stated = /\((\d+) rows are unmasked\)/.exec(described['in.caption_embs_head']?.meaning ?? '');
  if (stated) return Number(stated[1]);
  const plain = Object.entries(info).find(
    ([, golden]) => golden.special_token_keys.length === 0 && golden.clean_chunk_num === 0,
  );
  if (!plain) throw new Error('the manifest does not say how many caption rows are unmasked');
  return floats(tensors, `${plain[0]}.mask_valid`)[0]!;
}

function compareCase(tensors: Tensors, name: string, golden: Case, captionValid: number): string | null {
  const switches = readEnvironment(golden.env).specialTokens;
  const keys = captionTokenKeys(switches);
  const negativeKeys = negativeTokenKeys(switches);
  const length = golden.text_len_after;
  const width = tensor(tensors, 'in.caption_embs_head').shape.at(-1)!;
  const caption = joinEnds(tensors, 'in.caption_embs', length, width);
  const nullCaption = joinEnds(tensors, 'in.null_emb', length, width);
  const token = (key: SpecialTokenName): Float32Array => floats(tensors, `token.${key}`);
  const { infer_chunk_num: chunks, clean_chunk_num: clean } = golden;
  const generated = chunks - clean;

  // All padded rows, masked ones included.
  const captionRows = Array.from({ length: chunks }, (_, c) =>
    c < clean
      ? nullCaption
      : prependTokens(caption, resolveTokens(keys, c - clean, generated).map(token), width, length),
  );
  const nullRows = Array.from({ length: chunks }, () =>
    prependTokens(nullCaption, negativeKeys.map(token), width, length),
  );

  // What the model is given: valid rows only.
  const names = new Set([
    ...keys.flatMap((key) => Array.from({ length: generated }, (_, c) => resolveTokens([key], c, generated)[0]!)),
    ...negativeKeys,
  ]);
  const table = {
    width,
    tokens: Object.fromEntries([...names].map((key) => [key, token(key)])) as Record<SpecialTokenName, Float32Array>,
  };
  const text = conditionText({
    caption: { rows: caption, length: captionValid },
    nullCaption: { rows: nullCaption, length },
    switches,
    specialTokens: table,
    width,
    captionMaxLength: length,
    chunks,
    prefixChunks: clean,
  });
  const nullValid = text.nullText.length;
  return (
    firstDifference(golden.special_token_keys, keys, 'special_token_keys') ??
    firstDifference(golden.negative_keys, negativeKeys.length > 0 ? negativeKeys : null, 'negative_keys') ??
    compareEnds(tensors, `${name}.caption`, captionRows, width) ??
    compareEnds(tensors, `${name}.null`, nullRows, width) ??
    compareRows(captionRows, text.caption, width, 'caption') ??
    compareRows(
      nullRows,
      nullRows.map(() => text.nullText),
      width,
      'null text',
    ) ??
    firstDifference(
      [...floats(tensors, `${name}.mask_valid`)],
      text.caption.map((rows) => rows?.length ?? 0),
      'mask_valid',
    ) ??
    firstDifference(
      [...floats(tensors, `${name}.null_mask_valid`)],
      nullRows.map(() => nullValid),
      'null_mask_valid',
    ) ??
    (nullValid === Math.min(NULL_TEXT_ROWS, length) ? null : `null text has ${nullValid} rows`)
  );
}

/** Rebuilds `length` rows from stored head and tail; the rows between reach no recorded output. */
function joinEnds(tensors: Tensors, name: string, length: number, width: number): Float32Array {
  const head = floats(tensors, `${name}_head`);
  const tail = floats(tensors, `${name}_tail`);
  const rows = new Float32Array(length * width);
  rows.set(head.subarray(0, rows.length));
  rows.set(tail, rows.length - tail.length);
  return rows;
}

/** Compares stored [1, chunks, rows, width] heads and tails with whole rows per chunk. */
function compareEnds(tensors: Tensors, name: string, chunks: readonly Float32Array[], width: number): string | null {
  for (const part of ['head', 'tail'] as const) {
    const golden = tensor(tensors, `${name}_${part}`);
    const [batch, count, stored] = golden.shape;
    if (golden.shape.length !== 4 || batch !== 1 || count !== chunks.length || golden.shape[3] !== width)
      return `${name}_${part}: expected shape [1, ${chunks.length}, rows, ${width}], got [${golden.shape.join(', ')}]`;
    const size = stored! * width;
    const expected = toFloat32(golden.dtype, golden.data);
    for (const [c, rows] of chunks.entries()) {
      const mine = part === 'head' ? rows.subarray(0, size) : rows.subarray(rows.length - size);
      const difference = firstBitDifference(expected.subarray(c * size, (c + 1) * size), mine);
      if (difference !== null) return `${name}_${part} chunk ${c}: ${difference}`;
    }
  }
  return null;
}

/** The valid rows given to the model are the first rows of the padded text. */
function compareRows(
  chunks: readonly Float32Array[],
  texts: readonly ({ rows: Float32Array; length: number } | null)[],
  width: number,
  what: string,
): string | null {
  for (const [c, text] of texts.entries()) {
    if (!text) continue;
    const difference = firstBitDifference(chunks[c]!.subarray(0, text.length * width), text.rows);
    if (difference !== null) return `${what} of chunk ${c}: ${difference}`;
  }
  return null;
}

function firstBitDifference(expected: Float32Array, actual: Float32Array): string | null {
  if (expected.length !== actual.length) return `expected ${expected.length} values, got ${actual.length}`;
  const at = expected.findIndex((value, i) => !Object.is(value, actual[i]));
  return at < 0 ? null : `value ${at}: expected ${expected[at]!}, got ${actual[at]!}`;
}

function tensor(tensors: Tensors, name: string): HostTensor {
  const found = tensors.get(name);
  if (!found) throw new Error(`tensor ${name} is missing`);
  return found;
}

function floats(tensors: Tensors, name: string): Float32Array {
  const { dtype, data } = tensor(tensors, name);
  return toFloat32(dtype, data);
}
