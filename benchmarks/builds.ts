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

/** A file of a package's build. Throws Error where the folder is not a built clone. */
export function builtFile(folder: string, name: string, path: string): string {
  const file = join(resolve(folder), 'packages', name, 'dist', path);
  if (!existsSync(file)) throw new Error(`${folder} is no built clone of this repository: there is no ${file}`);
  return file;
}

/** Throws Error where the folder is not a built clone. */
export async function loadBuild(folder: string): Promise<Build> {
  const load = (name: string) => import(pathToFileURL(builtFile(folder, name, 'index.js')).href) as Promise<unknown>;
  const tensor = (await load('tensor')) as Build['tensor'];
  const kernels = (await load('kernels')) as Record<string, unknown>;
  return { root: resolve(folder), tensor, ops: Object.values(kernels).filter(tensor.isOp) };
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
