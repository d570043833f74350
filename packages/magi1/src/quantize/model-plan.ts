// Which files a quantised model consists of, in the original's layout, and what each is made of. Nothing is read but tables
// of contents and small files.
import {
  NotFoundError,
  checkpointFiles,
  ifFound,
  isFolder,
  listNames,
  locate,
  openTensorFile,
  readBytes,
} from '@magi1/loaders';
import type { ByteSource, Folder, FolderOptions } from '@magi1/loaders';
import { Magi1Error, byteLengthOf } from '@magi1/tensor';
import type { BlockDType, DType } from '@magi1/tensor';
import { T5_FOLDER, weightFolder } from '../config/folders.ts';
import { deviceDType } from '../nn/index.ts';
import type { ParamSpec } from '../nn/index.ts';
import { openModelFiles, readConfigFile, readModelFolder } from '../pipelines/model-files.ts';
import type { ModelFiles, ModelFolder } from '../pipelines/model-files.ts';
import { contentOf, copyOf, safetensorsOf, weightType } from './content.ts';
import type { Content, NewTensor } from './content.ts';
import type { NetworkName } from './network-names.ts';

export type Bits = 8 | 4;

/** A file of the new model. */
export interface PlannedFile {
  /** In the new model's folder. */
  readonly path: string;
  /** In bytes, as it will be. */
  readonly size: number;
  /** Bytes of the source that it is made of. */
  readonly read: number;
  /** What the source is known by: another one is another model. */
  readonly source: string;
  /** Opens its source, which the caller closes. */
  open(options: FolderOptions): Promise<{ readonly content: Content; readonly source: ByteSource | undefined }>;
}

/** What becomes of a network. */
export interface QuantizedPart {
  readonly network: NetworkName;
  /** Of its weights, before and after. */
  readonly sourceBytes: number;
  readonly bytes: number;
  /** Tensors that become q8 or q4; 0 where it is copied. */
  readonly quantized: number;
  readonly tensors: number;
}

export interface ModelPlan {
  readonly model: ModelFolder;
  readonly files: readonly PlannedFile[];
  readonly parts: readonly QuantizedPart[];
}

const TOKENIZER_FILES = ['tokenizer.json', 'spiece.model', 'tokenizer_config.json', 'special_tokens_map.json'];
const CONFIG = 'config.json';
const SMALL = 64 << 20;

/** A model folder by its path or as a Folder, or a config file of the original. */
export async function readModel(where: string | URL | Folder, options: FolderOptions): Promise<ModelFolder> {
  const { file } = isFolder(where)
    ? { file: undefined }
    : await locate(where).catch((error: unknown) => {
        if (error instanceof NotFoundError) throw new Magi1Error(`model ${String(where)}: does not exist`);
        throw error;
      });
  return file === undefined ? readModelFolder(where, options) : readConfigFile(where as string | URL, options);
}

/** @throws Magi1Error where the model does not fit its config, or what shall be quantised is quantised already */
export async function planModel(
  model: ModelFolder,
  bits: Bits,
  only: readonly NetworkName[],
  options: FolderOptions,
): Promise<ModelPlan> {
  const opened = await openModelFiles(model, undefined, options);
  try {
    const places: [NetworkName, Folder, string][] = [
      ['transformer', model.folders.transformer, `magi/${weightFolder(model.config.engine_config)}`],
      ['text', model.folders.textEncoder, `t5/${T5_FOLDER}`],
      ['vae', model.folders.vae, 'vae'],
    ];
    const files: PlannedFile[] = [];
    const parts: QuantizedPart[] = [];
    const { configJson } = model;
    const runtime = { load: './magi', t5_pretrained: './t5', vae_pretrained: './vae' };
    const json = configJson as { runtime_config?: object };
    const config = { ...json, runtime_config: { ...json.runtime_config, ...runtime } };
    files.push(smallFile(CONFIG, `${JSON.stringify(config, null, 2)}\n`));
    const copies: [Folder, string, string][] = [
      [model.folders.textEncoder, CONFIG, `t5/${T5_FOLDER}`],
      [model.folders.vae, CONFIG, 'vae'],
      ...TOKENIZER_FILES.map((name): [Folder, string, string] => [model.folders.tokenizer, name, `t5/${T5_FOLDER}`]),
      [model.tokenFolders[0]!, 'trained.json', '.'],
    ];
    for (const [folder, name, to] of copies) {
      if (!((await ifFound(listNames(folder, options))) ?? []).includes(name)) continue;
      const bytes = await readBytes(folder, name, SMALL, options);
      files.push(smallFile(to === '.' ? name : `${to}/${name}`, bytes));
    }
    const tokens = await specialTokens(model, options);
    if (tokens !== undefined) files.push(smallFile('special_tokens.npz', tokens));
    for (const [network, folder, to] of places) {
      const dtype = only.includes(network) ? (`q${bits}` as BlockDType) : undefined;
      const part =
        dtype === undefined
          ? await copyNetwork(network, folder, to, opened, options)
          : await quantizeNetwork(network, folder, to, opened, dtype, options);
      files.push(...part.files);
      parts.push(part);
    }
    return { model, files, parts };
  } finally {
    await opened.close();
  }
}

function smallFile(path: string, content: string | Uint8Array): PlannedFile {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return {
    path,
    size: bytes.length,
    read: 0,
    source: new TextDecoder('latin1').decode(bytes.subarray(0, SMALL)),
    open: () => Promise.resolve({ content: contentOf(bytes), source: undefined }),
  };
}

async function specialTokens({ tokenFolders }: ModelFolder, options: FolderOptions): Promise<Uint8Array | undefined> {
  for (const path of ['special_tokens.npz', 'example/assets/special_tokens.npz'])
    for (const folder of tokenFolders) {
      const found = await ifFound(readBytes(folder, path, SMALL, options));
      if (found !== undefined) return found;
    }
  return undefined;
}

const storedNetwork = (network: NetworkName, { transformer, textEncoder, vae }: ModelFiles) =>
  ({ transformer, text: textEncoder, vae })[network];

/** What tells a file from another one of its name. */
async function factsOf(folder: Folder, name: string, options: FolderOptions) {
  const source = await folder.open(name, options);
  try {
    return { size: source.size, source: `${source.size} ${source.version ?? ''}` };
  } finally {
    await source.close();
  }
}

async function copyNetwork(
  network: NetworkName,
  folder: Folder,
  to: string,
  opened: ModelFiles,
  options: FolderOptions,
): Promise<QuantizedPart & { readonly files: readonly PlannedFile[] }> {
  const files: PlannedFile[] = [];
  for (const name of await checkpointFiles(folder, options)) {
    const { size, source } = await factsOf(folder, name, options);
    files.push({
      path: `${to}/${name}`,
      size,
      read: size,
      source,
      open: async (options) => {
        const source = await folder.open(name, options);
        return { content: copyOf(source), source };
      },
    });
  }
  const { byteLength, shards } = storedNetwork(network, opened).checkpoint;
  const tensors = shards.reduce((sum, shard) => sum + shard.tensors.size, 0);
  return { network, files, sourceBytes: byteLength, bytes: byteLength, quantized: 0, tensors };
}

async function quantizeNetwork(
  network: NetworkName,
  folder: Folder,
  to: string,
  opened: ModelFiles,
  dtype: BlockDType,
  options: FolderOptions,
): Promise<QuantizedPart & { readonly files: readonly PlannedFile[] }> {
  const stored = storedNetwork(network, opened);
  const { checkpoint } = stored;
  const [index, ...others] = await checkpointFiles(folder, options);
  const sharded = index!.endsWith('.index.json');
  const names = sharded ? others : [index!];
  const files: PlannedFile[] = [];
  const weightMap: Record<string, string> = {};
  const sums = { sourceBytes: 0, bytes: 0, quantized: 0, tensors: 0 };
  for (const [i, name] of names.entries()) {
    const shard = checkpoint.shards[i]!;
    const path = newName(name);
    const tensors: NewTensor[] = [];
    for (const [tensor, entry] of shard.tensors) {
      const spec = stored.specOf(tensor);
      if (spec === undefined) continue; // no weight of the model
      const before = weightType(shard.name, tensor, entry.dtype);
      refuseQuantized(shard.name, tensor, entry.packed ?? (PLAIN.includes(before) ? undefined : before));
      const after: DType = newType(spec, before, dtype);
      tensors.push({ name: tensor, shape: entry.shape, stored: before, dtype: after });
      weightMap[tensor] = path;
      sums.sourceBytes += entry.byteLength;
      sums.bytes += byteLengthOf({ shape: entry.shape, dtype: after });
      sums.tensors++;
      if (after === dtype) sums.quantized++;
    }
    const { size: sourceSize, source } = await factsOf(folder, name, options);
    const { size, pieces } = safetensorsOf(path, shard, tensors);
    files.push({
      path: `${to}/${path}`,
      size,
      read: pieces.reduce((sum, { read }) => sum + read, 0),
      source: `${sourceSize} ${source}`,
      open: async (options) => {
        const source = await folder.open(name, options);
        try {
          return { content: safetensorsOf(path, await openTensorFile(source, name, options), tensors), source };
        } catch (cause) {
          await source.close();
          throw cause;
        }
      },
    });
  }
  if (sharded) {
    const text = JSON.stringify({ metadata: { total_size: sums.bytes }, weight_map: weightMap }, null, 2);
    files.push(smallFile(`${to}/${newName(index!)}`, `${text}\n`));
  }
  return { network, files, ...sums };
}

/** As `--dtype` has it on the device; vectors stay as they are stored. */
const newType = (spec: ParamSpec, stored: DType, wanted: BlockDType): DType =>
  spec.role === 'vector' ? stored : deviceDType(spec, stored, wanted);

const PLAIN: readonly DType[] = ['f32', 'f16', 'bf16'];

function refuseQuantized(file: string, tensor: string, type: string | undefined): void {
  if (type !== undefined)
    throw new Magi1Error(
      `${file}: ${tensor} is ${type} already; quantise the model that it was made of, or leave this network out (--only)`,
    );
}

/** What a file of weights, or its index, is called as safetensors. */
function newName(name: string): string {
  const plain = name.replace(/\.zst$/, '').replace(/^pytorch_model/, 'model');
  return plain.replace(/\.(bin|pt|pth|gguf)(\.index\.json)?$/, '.safetensors$2');
}
