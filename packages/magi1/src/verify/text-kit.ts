// Goldens without tensors on a device: tokenizer ids, text cleaning, and files made to break checkpoint readers.
import { nodeFolder, readTokenizer } from '@magi1/loaders';
import { FileFormatError, toFloat32 } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { basicClean, cleanCaption, cleanPrompt } from '../text/clean/clean-caption.ts';
import { fixText } from '../text/clean/fix-text.ts';
import { htmlUnescape } from '../text/clean/html-entities.ts';
import { htmlText } from '../text/clean/html-text.ts';
import { pythonLower, pythonStrip, unquotePlus } from '../text/clean/python-text.ts';
import { compareExact } from './goldens.ts';
import type { Check, FileTree, VerifyCase } from './types.ts';
import { readEveryTensor, readJson, readTensors } from './files.ts';

type Finder = (tree: FileTree, prefix: string) => Promise<VerifyCase[]>;

/** Cases by the file that marks them. */
const FINDERS: Readonly<Record<string, Finder>> = {
  'clean_caption.json': (tree, prefix) =>
    Promise.resolve([single(tree, `${prefix}clean_caption.json`, 't5.clean_caption', cleaningChecks)]),
  'clean_components.json': (tree, prefix) =>
    Promise.resolve([single(tree, `${prefix}clean_components.json`, 't5.clean_components', componentChecks)]),
  'goldens.json': (tree, prefix) =>
    Promise.resolve([
      single(tree, `${prefix}goldens.json`, 't5.tokenizer', (json) =>
        tokenizerChecks(json, tree.resolve(prefix === '' ? '.' : prefix)),
      ),
    ]),
  'manifest.json': hostileFiles,
};

export async function textCases(tree: FileTree): Promise<VerifyCase[]> {
  const cases: VerifyCase[] = [];
  for (const [name, find] of Object.entries(FINDERS)) {
    for (const folder of tree.foldersWith(name)) cases.push(...(await find(tree, folder === '' ? '' : `${folder}/`)));
  }
  for (const path of tree.files.filter((file) => file.endsWith('_expected.safetensors'))) {
    const file = path.replace(/_expected\.safetensors$/, '.bin');
    if (!tree.has(file)) continue;
    const run = async () =>
      sameTensors(await readEveryTensor(tree.resolve(file)), await readTensors(tree.resolve(path)));
    cases.push({ path: file, kind: 't5.torch_bin', files: [path, file], run });
  }
  return cases;
}

function single(
  tree: FileTree,
  path: string,
  kind: string,
  check: (json: unknown) => Check[] | Promise<Check[]>,
): VerifyCase {
  return { path, kind, files: [path], run: async () => check(await readJson(tree.resolve(path))) };
}

function cleaningChecks(json: unknown): Check[] {
  return (json as { cases: { in: string; once?: string; out: string }[] }).cases.flatMap((found, i) => [
    ...(found.once === undefined
      ? []
      : [compareExact(`caption ${i}, one pass`, [cleanCaption(found.in)], [found.once])]),
    compareExact(`caption ${i}, two passes`, [cleanPrompt(found.in)], [found.out]),
  ]);
}

const COMPONENTS: Readonly<Record<string, (text: string) => string>> = {
  'ftfy.fix_text': fixText,
  basic_clean: basicClean,
  'html.unescape': htmlUnescape,
  'BeautifulSoup.text': htmlText,
  unquote_plus: unquotePlus,
  'str.lower': pythonLower,
  'str.strip': pythonStrip,
};

function componentChecks(json: unknown): Check[] {
  return Object.entries(json as Record<string, unknown>).flatMap(([name, cases]) => {
    if (!Array.isArray(cases)) return [];
    const component = COMPONENTS[name];
    if (component === undefined)
      return [{ what: name, pass: false, tolerance: 'exact', detail: 'no component of this name' }];
    return (cases as { in: string; out: string }[]).map((found) =>
      compareExact(`${name} of ${JSON.stringify(found.in)}`, [component(found.in)], [found.out]),
    );
  });
}

interface TokenizerGoldens {
  readonly encode: readonly { text: string; ids: number[] }[];
  readonly padded: readonly { index: number; max_length: number; input_ids_unpadded: number[]; mask_ones: number }[];
}

/** Both files must give the same ids. */
async function tokenizerChecks(json: unknown, folder: string): Promise<Check[]> {
  const goldens = json as TokenizerGoldens;
  const checks: Check[] = [];
  for (const [source, tokenizer] of [
    ['tokenizer.json', await readTokenizer(nodeFolder(folder), ['tokenizer.json'])],
    ['spiece.model', await readTokenizer(nodeFolder(folder), ['spiece.model'])],
  ] as const) {
    for (const [i, { text, ids }] of goldens.encode.entries()) {
      checks.push(compareExact(`${source}: text ${i}`, tokenizer.encode(text), ids));
    }
    for (const { index, max_length, input_ids_unpadded, mask_ones } of goldens.padded) {
      const { inputIds, attentionMask } = tokenizer.encodePadded(goldens.encode[index]!.text, max_length);
      const pad = (values: number[]) => Array.from({ length: max_length }, (_, i) => values[i] ?? 0);
      const what = `${source}: text ${index} padded to ${max_length}`;
      checks.push(compareExact(what, inputIds, pad(input_ids_unpadded)));
      checks.push(compareExact(`${what}, mask`, attentionMask, pad(new Array<number>(mask_ones).fill(1))));
    }
  }
  return checks;
}

interface HostileFile {
  readonly file: string;
  readonly problem: string;
  readonly expected: string;
}

/** Files that must be refused, and odd ones that must be read: the manifest says which. */
async function hostileFiles(tree: FileTree, prefix: string): Promise<VerifyCase[]> {
  const manifest = await readJson(tree.resolve(`${prefix}manifest.json`));
  if (!Array.isArray(manifest)) return [];
  return (manifest as HostileFile[]).map(({ file, problem, expected }) => {
    const path = prefix + file;
    const kind = file.endsWith('.safetensors') ? 't5.bad_safetensors' : 't5.bad_bin';
    const run = async (): Promise<Check[]> => {
      const refuse = expected.startsWith('refuse');
      try {
        await readEveryTensor(tree.resolve(path));
        return [
          {
            what: problem,
            pass: !refuse,
            tolerance: expected,
            ...(refuse ? { detail: 'it was read without an error' } : {}),
          },
        ];
      } catch (error) {
        const clear = error instanceof FileFormatError && error.message.includes(file);
        return [{ what: problem, pass: refuse && clear, tolerance: expected, detail: (error as Error).message }];
      }
    };
    return { path, kind, files: [path], run };
  });
}

function sameTensors(actual: ReadonlyMap<string, HostTensor>, expected: ReadonlyMap<string, HostTensor>): Check[] {
  const checks = [compareExact('names', [...actual.keys()].sort(), [...expected.keys()].sort())];
  for (const [name, stored] of expected) {
    const tensor = actual.get(name);
    if (tensor === undefined) continue;
    checks.push(compareExact(`${name}: shape`, tensor.shape, stored.shape));
    const values = (t: HostTensor) => Float64Array.from(toFloat32(t.dtype, t.data));
    checks.push(compareExact(`${name}: values`, values(tensor), values(stored)));
  }
  return checks;
}
