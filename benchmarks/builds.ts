// Builds of this repository to compare: this one, and other clones of it, loaded from their `dist` folders.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AnyCase, AnyOp } from '@magi1/tensor';
import { casesOf } from './inputs.ts';

export interface Build {
  readonly root: string;
  readonly tensor: typeof import('@magi1/tensor');
  readonly ops: readonly AnyOp[];
}

/** Throws Error where the folder is not a built clone. */
export async function loadBuild(folder: string): Promise<Build> {
  const root = resolve(folder);
  const [tensorFile, kernelsFile] = ['tensor', 'kernels'].map((name) => join(root, 'packages', name, 'dist/index.js'));
  for (const file of [tensorFile!, kernelsFile!]) {
    if (!existsSync(file)) throw new Error(`${folder} is no built clone of this repository: there is no ${file}`);
  }
  const tensor = (await import(pathToFileURL(tensorFile!).href)) as Build['tensor'];
  const kernels = (await import(pathToFileURL(kernelsFile!).href)) as Record<string, unknown>;
  return { root, tensor, ops: Object.values(kernels).filter(tensor.isOp) };
}

export interface Choice {
  /** Names of ops; all when empty. */
  readonly opNames: readonly string[];
  /** Only cases with this in their name. */
  readonly caseText?: string | undefined;
}

/** The cases of a build's tables, the smallest work of every op first. Throws Error for an op that does not exist. */
export function chosenCases(build: Build, { opNames, caseText = '' }: Choice): { op: AnyOp; opCase: AnyCase }[] {
  const missing = opNames.filter((name) => !build.ops.some((op) => op.name === name));
  if (missing.length > 0) {
    throw new Error(`--op ${missing.join(', ')}: there are ${build.ops.map(({ name }) => name).join(', ')}`);
  }
  const flops = (op: AnyOp, { inputs, params }: AnyCase) => op.cost(inputs, params).flops;
  return build.ops
    .filter(({ name }) => opNames.length === 0 || opNames.includes(name))
    .flatMap((op) =>
      casesOf(op)
        .filter(({ name }) => name.includes(caseText))
        .sort((a, b) => flops(op, a) - flops(op, b))
        .map((opCase) => ({ op, opCase })),
    );
}
