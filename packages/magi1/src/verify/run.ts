// `magi1 verify`: finds every golden below a folder, runs each on a device and tells what passed.
import { Magi1Error } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { kits } from './kits.ts';
import type { Check, FileTree, VerifyCase, VerifyContext } from './types.ts';

export interface CaseResult {
  readonly path: string;
  readonly kind: string;
  /** The comparison closest to (or furthest past) its gate; the first that failed if one did. */
  readonly what: string;
  readonly maxAbs: number | null;
  readonly relL2: number | null;
  readonly tolerance: string;
  readonly status: 'pass' | 'fail' | 'unknown';
  readonly detail?: string;
  /** Comparisons made. */
  readonly checks: number;
  readonly seconds: number;
}

export interface VerifyResult {
  readonly cases: readonly CaseResult[];
  readonly passed: number;
  readonly failed: number;
  readonly unknown: number;
  readonly seconds: number;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal | undefined;
  /** Only cases for which this holds are run (by path); the rest is left out of the counts. */
  readonly only?: ((path: string) => boolean) | undefined;
  readonly onCase?: ((result: CaseResult) => void) | undefined;
  readonly cacheDType?: VerifyContext['cacheDType'];
}

export interface Goldens {
  /** In the order of their paths. */
  readonly cases: readonly VerifyCase[];
  /** Files that are neither a case nor part of one, nor a text, index, config or model file. */
  readonly unaccounted: readonly string[];
}

/** What there is to verify below a folder in the format of a conformance kit, or of a part of one. */
export async function findGoldens(root: string): Promise<Goldens> {
  const tree = await readTree(root);
  const cases = (await Promise.all(kits.map((kit) => kit(tree)))).flat().sort((a, b) => (a.path < b.path ? -1 : 1));
  const accounted = new Set(cases.flatMap((found) => found.files));
  return { cases, unaccounted: tree.files.filter((path) => !accounted.has(path) && !isKnownCompanion(path)) };
}

/** Runs every golden found below `root`. A failure of a case is a result; only a missing root or an abort throws. */
export async function verify(root: string, device: Device, options: VerifyOptions = {}): Promise<VerifyResult> {
  const start = performance.now();
  const { cases, unaccounted } = await findGoldens(root);
  const wanted = (path: string) => options.only?.(path) ?? true;
  const results: CaseResult[] = [];
  const report = (result: CaseResult) => {
    results.push(result);
    options.onCase?.(result);
  };
  for (const found of cases.filter(({ path }) => wanted(path))) {
    options.signal?.throwIfAborted();
    report(await runCase(found, { device, signal: options.signal, cacheDType: options.cacheDType }));
  }
  for (const path of unaccounted.filter(wanted)) {
    const facts = { kind: 'unknown', what: 'no case and referenced by none', maxAbs: null, relL2: null, tolerance: '' };
    report({ path, ...facts, status: 'unknown', checks: 0, seconds: 0 });
  }
  const count = (status: CaseResult['status']) => results.filter((result) => result.status === status).length;
  return {
    cases: results,
    passed: count('pass'),
    failed: count('fail'),
    unknown: count('unknown'),
    seconds: (performance.now() - start) / 1000,
  };
}

/** Runs one case; whatever goes wrong in it is its result. */
export async function runCase(found: VerifyCase, context: VerifyContext): Promise<CaseResult> {
  const { device, signal } = context;
  const start = performance.now();
  const before = new Set(device.liveTensors());
  let checks: readonly Check[];
  try {
    checks = await found.run(context);
    if (checks.length === 0)
      checks = [{ what: 'comparisons', pass: false, tolerance: '', detail: 'nothing was compared' }];
  } catch (error) {
    if (signal?.aborted) throw error;
    checks = [{ what: 'run', pass: false, tolerance: '', detail: (error as Error).message }];
  }
  // Goldens and taps are held by the case; whatever it left is freed here.
  for (const tensor of device.liveTensors()) if (!before.has(tensor)) tensor.dispose();
  const shown = worst(checks);
  return {
    path: found.path,
    kind: found.kind,
    what: shown.what,
    maxAbs: shown.maxAbs ?? null,
    relL2: shown.relL2 ?? null,
    tolerance: shown.tolerance,
    status: checks.every((check) => check.pass) ? 'pass' : 'fail',
    ...(shown.detail === undefined ? {} : { detail: shown.detail }),
    checks: checks.length,
    seconds: (performance.now() - start) / 1000,
  };
}

function worst(checks: readonly Check[]): Check {
  const failed = checks.find((check) => !check.pass);
  if (failed) return failed;
  return checks.reduce((a, b) => ((b.relL2 ?? 0) > (a.relL2 ?? 0) ? b : a));
}

/** Files that need no case: texts, indexes, configs and model files that cases read. */
function isKnownCompanion(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  return (
    ['README.md', 'index.json', 'sensitivity.json', 'manifest.json', 'config.json', 'weights.json'].includes(name) ||
    [
      'special_tokens_map.json',
      'tokenizer_config.json',
      'tokenizer.json',
      'spiece.model',
      'special_tokens.npz',
    ].includes(name) ||
    /(^|\/)configs\/[^/]+\.json$/.test(path) ||
    /\.(manifest|index)\.json$/.test(name) ||
    /_manifest\.json$/.test(name) ||
    /^(diffusion_pytorch_)?model(-\d+-of-\d+)?\.safetensors(\.zst)?$/.test(name) ||
    /^pytorch_model(-\d+-of-\d+)?\.bin$/.test(name)
  );
}

async function readTree(root: string): Promise<FileTree> {
  const { readdir, stat } = await import('node:fs/promises');
  const nodePath = await import('node:path');
  const facts = await stat(root).catch(() => undefined);
  if (!facts?.isDirectory()) throw new Magi1Error(`verify: ${root} is not a folder`);
  const files: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const entry of await readdir(nodePath.join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else files.push(path);
    }
  };
  await walk('');
  files.sort();
  const known = new Set(files);
  return {
    root,
    files,
    has: (path) => known.has(path),
    resolve: (path) => nodePath.join(root, path),
    foldersWith: (name) =>
      files.filter((path) => path === name || path.endsWith(`/${name}`)).map((path) => path.slice(0, -name.length - 1)),
  };
}
