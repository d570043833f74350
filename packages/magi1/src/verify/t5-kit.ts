// Goldens of the text side: T5 encoder and its operations, tokenizer, cleaning, torch and safetensors readers.
import { nodeFolder, readTokenizer } from '@magi1/loaders';
import { geluTanh, rmsNorm } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { HostTensor, Tensor } from '@magi1/tensor';
import { cleanPrompt } from '../text/clean/clean-caption.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { relativePositionBucket } from '../t5/relative-position.ts';
import { keepView, observe } from '../nn/index.ts';
import { compareExact, compareFloats, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import { loadT5 } from './load-networks.ts';
import { textCases } from './text-kit.ts';
import type { Check, FileTree, Kit, VerifyCase, VerifyContext } from './types.ts';
import { readJson, readTensors } from './files.ts';

const GATE = { relL2: 1e-5, maxAbs: 5e-5 };

type Goldens = ReadonlyMap<string, HostTensor>;

export const t5Kit: Kit = async (tree) => [...(await encoderCases(tree)), ...(await textCases(tree))];

async function encoderCases(tree: FileTree): Promise<VerifyCase[]> {
  const cases: VerifyCase[] = [];
  const each = (name: string, add: (prefix: string, folder: string) => void) => {
    for (const folder of tree.foldersWith(name)) add(folder === '' ? '' : `${folder}/`, folder);
  };
  for (const folder of tree.foldersWith('encoder_manifest.json')) {
    const prefix = folder === '' ? '' : `${folder}/`;
    const manifest = (await readJson(tree.resolve(`${prefix}encoder_manifest.json`))) as { file: string }[];
    for (const { file } of manifest) {
      const path = prefix + file;
      const run = (context: VerifyContext) =>
        withEncoder(tree.resolve(`${prefix}model`), context, async (encoder) =>
          encoderChecks(encoder, await readTensors(tree.resolve(path)), context),
        );
      cases.push({ path, kind: 't5.encoder', files: [path], run });
    }
  }
  each('t5_ops.safetensors', (prefix) => {
    const path = `${prefix}t5_ops.safetensors`;
    const run = (context: VerifyContext) =>
      withEncoder(tree.resolve(`${prefix}model`), context, async (encoder) =>
        operationChecks(encoder, await readTensors(tree.resolve(path)), context),
      );
    cases.push({ path, kind: 't5.ops', files: [path], run });
  });
  each('text_to_embeddings.safetensors', (prefix) => {
    const path = `${prefix}text_to_embeddings.safetensors`;
    const json = `${prefix}text_to_embeddings.json`;
    const run = (context: VerifyContext) => textToEmbeddings(tree, prefix, context);
    cases.push({ path, kind: 't5.text_to_embeddings', files: [path, json], run });
  });
  return cases;
}

async function withEncoder(
  folder: string,
  { device }: VerifyContext,
  run: (encoder: T5Encoder) => Promise<Check[]>,
): Promise<Check[]> {
  const encoder = await loadT5(folder, device);
  try {
    return await run(encoder);
  } finally {
    encoder.dispose();
  }
}

/** Row `row` of a golden [batch, length] as int32. */
function row(tensor: HostTensor, index: number): Int32Array {
  const length = tensor.shape[1]!;
  return Int32Array.from(tensor.data.slice(index * length, (index + 1) * length));
}

/** Row `row` of a golden [batch, ...] of floats. */
function floatRow(goldens: Goldens, name: string, index: number): Float32Array {
  const values = goldenFloats(goldens, name);
  const size = values.length / golden(goldens, name).shape[0]!;
  return values.slice(index * size, (index + 1) * size);
}

async function encoderChecks(encoder: T5Encoder, goldens: Goldens, { signal }: VerifyContext): Promise<Check[]> {
  const ids = golden(goldens, 'in.input_ids');
  const checks: Check[] = [];
  for (let text = 0; text < ids.shape[0]!; text++) {
    const held = new Map<string, Tensor>();
    const seen = (path: string, tensor: Tensor) => {
      const block = path === 'shared' ? -1 : Number(/^encoder\.block\.(\d+)$/.exec(path)?.[1]);
      // The last hidden state is after the final norm.
      if (block + 1 < encoder.config.num_layers) held.set(`hidden_states.${block + 1}`, keepView(tensor));
    };
    const mask = row(golden(goldens, 'in.attention_mask'), text);
    const out = await observe(encoder.params, seen, () => encoder.encode(row(ids, text), mask, { signal }));
    held.set('last_hidden_state', out);
    const last = `hidden_states.${encoder.config.num_layers}`;
    if (goldens.has(`out.${last}`)) held.set(last, out.reshape(out.shape));
    for (const [name, tensor] of held) {
      if (goldens.has(`out.${name}`)) {
        const actual = await tensor.toFloat32();
        checks.push(compareFloats(`text ${text}: ${name}`, actual, floatRow(goldens, `out.${name}`, text), GATE));
      }
      tensor.dispose();
    }
  }
  return checks;
}

async function operationChecks(encoder: T5Encoder, goldens: Goldens, { device }: VerifyContext): Promise<Check[]> {
  const checks: Check[] = [];
  const { config } = encoder;
  const positions = golden(goldens, 'bucket.relative_position').data;
  for (const [name, stored] of goldens) {
    const match = /^bucket\.n(\d+)_max(\d+)$/.exec(name);
    if (match) {
      const buckets = Array.from(positions, (d) => relativePositionBucket(d, Number(match[1]), Number(match[2])));
      checks.push(compareExact(name, buckets, stored.data));
    }
    const bias = /^position_bias\.(\d+)$/.exec(name);
    if (bias)
      checks.push(
        compareFloats(name, await positionBias(encoder, Number(bias[1])), goldenFloats(goldens, name), { maxAbs: 0 }),
      );
  }
  const rows = (name: string) => {
    const stored = golden(goldens, name);
    return toDevice(
      device,
      stored,
      [-1, stored.shape.at(-1)!].map((d) => (d < 0 ? stored.data.length / stored.shape.at(-1)! : d)),
    );
  };
  const against = async (name: string, actual: Tensor) => {
    const stored = golden(goldens, name);
    checks.push(await compareTensor(name, actual.reshape(stored.shape), stored, GATE));
  };
  const eps = config.layer_norm_epsilon;
  await against(
    'rmsnorm.out',
    rmsNorm(rows('rmsnorm.in'), toDevice(device, golden(goldens, 'rmsnorm.weight')), { eps }),
  );
  await against('gelu_new.out', geluTanh(toDevice(device, golden(goldens, 'gelu_new.in'))));
  await against('ffn_dense.out', encoder.block[1]!.layer[1].DenseReluDense.forward(rows('ffn_dense.in')));
  await against(
    'ffn.out',
    scope(() => encoder.block[1]!.layer[1].forward(rows('ffn.in'))),
  );
  const input = golden(goldens, 'attention.in');
  const [batch, length, width] = input.shape as [number, number, number];
  for (let text = 0; text < batch; text++) {
    const mask = row(golden(goldens, 'mask.in'), text);
    const relativeBias = await encoder.relativeBias(length);
    const context = { relativeBias, keyMask: device.tensor(mask, [length], 'i32') };
    const x = device.tensor(floatRow(goldens, 'attention.in', text), [length, width], 'f32');
    const parts: [string, Tensor][] = [
      ['attention.out', encoder.block[1]!.layer[0].SelfAttention.forward(x, context)],
      ['block0.out', encoder.block[0]!.forward(x, context)],
      ['block1.out', encoder.block[1]!.forward(x, context)],
    ];
    for (const [name, tensor] of parts) {
      checks.push(compareFloats(`${name} text ${text}`, await tensor.toFloat32(), floatRow(goldens, name, text), GATE));
    }
  }
  return checks;
}

/** [1, heads, length, length] expanded from the per-distance table. */
async function positionBias(encoder: T5Encoder, length: number): Promise<Float32Array> {
  const { num_heads } = encoder.config;
  using relativeBias = await encoder.relativeBias(length);
  const table = await relativeBias.toFloat32();
  const columns = 2 * length - 1;
  return Float32Array.from({ length: num_heads * length * length }, (_, i) => {
    const [head, query, key] = [Math.floor(i / (length * length)), Math.floor(i / length) % length, i % length];
    return table[head * columns + (key - query) + length - 1]!;
  });
}

async function textToEmbeddings(tree: FileTree, prefix: string, context: VerifyContext): Promise<Check[]> {
  const facts = (await readJson(tree.resolve(`${prefix}text_to_embeddings.json`))) as {
    max_lengths: number[];
    prompts: string[];
    cleaned: string[];
  };
  const goldens = await readTensors(tree.resolve(`${prefix}text_to_embeddings.safetensors`));
  const tokenizer = await readTokenizer(nodeFolder(tree.resolve(`${prefix}tokenizer`)));
  return withEncoder(tree.resolve(`${prefix}model`), context, async (encoder) => {
    const checks: Check[] = [];
    for (const [i, prompt] of facts.prompts.entries()) {
      const cleaned = cleanPrompt(prompt);
      checks.push(compareExact(`prompt ${i}: cleaned`, [cleaned], [facts.cleaned[i]!]));
      for (const length of facts.max_lengths) {
        const name = `${length}.${i}`;
        const { inputIds, attentionMask } = tokenizer.encodePadded(cleaned, length);
        checks.push(compareExact(`${name}.input_ids`, inputIds, golden(goldens, `${name}.input_ids`).data));
        checks.push(compareExact(`${name}.mask`, attentionMask, golden(goldens, `${name}.mask`).data));
        const out = await encoder.encode(inputIds, attentionMask, context);
        checks.push(
          compareFloats(`${name}.embeddings`, await out.toFloat32(), goldenFloats(goldens, `${name}.embeddings`), GATE),
        );
        out.dispose();
      }
    }
    return checks;
  });
}
