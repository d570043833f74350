// The transformer's kit: operators, forwards, sampling runs, scheduler traces, special tokens.
import { verifyDitForward } from './dit-forward.ts';
import { verifyDitOps } from './dit-ops.ts';
import { verifyDitSample } from './dit-sample.ts';
import { verifyFp8Ops } from './fp8-ops.ts';
import { verifyScheduler } from './scheduler.ts';
import { verifySpecialTokens } from './special-tokens.ts';
import type { Check, Kit, VerifyCase, VerifyContext } from './types.ts';
import { readJson, readTensors } from './files.ts';

type Runner = (path: string, context: VerifyContext) => Promise<Check[]>;

/** Golden files by name; each has a manifest with the whole config beside it. */
const RUNNERS: readonly (readonly [pattern: RegExp, kind: string, run: Runner])[] = [
  [/^ops\.safetensors$/, 'dit.ops', verifyDitOps],
  [/^ops_fp8\.safetensors$/, 'dit.ops_fp8', verifyFp8Ops],
  [/^forward(_\w+)?\.safetensors$/, 'dit.forward', verifyDitForward],
  [/^sample_\w+\.safetensors$/, 'dit.sample', verifyDitSample],
  [/^special_tokens\.safetensors$/, 'dit.special_tokens', specialTokens],
];

export const ditKit: Kit = (tree) => {
  const cases: VerifyCase[] = [];
  for (const path of tree.files) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    const manifest = path.replace(/\.safetensors$/, '.manifest.json');
    const found = RUNNERS.find(([pattern]) => pattern.test(name));
    if (found && tree.has(manifest)) {
      const [, kind, run] = found;
      cases.push({ path, kind, files: [path, manifest], run: (context) => run(tree.resolve(path), context) });
    }
    if (name === 'scheduler.json') {
      const run = async () => exact(verifyScheduler(await readJson(tree.resolve(path))));
      cases.push({ path, kind: 'dit.scheduler', files: [path], run });
    }
  }
  return Promise.resolve(cases);
};

async function specialTokens(path: string): Promise<Check[]> {
  const manifest = await readJson(path.replace(/\.safetensors$/, '.manifest.json'));
  return exact(verifySpecialTokens(await readTensors(path), manifest));
}

function exact(results: readonly { what: string; pass: boolean; detail: string }[]): Check[] {
  return results.map(({ what, pass, detail }) => ({ what, pass, tolerance: 'exact', ...(pass ? {} : { detail }) }));
}
