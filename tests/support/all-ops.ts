// The ops under test: all of @magi1/kernels, or the rooms named in MAGI1_OP (comma list), imported alone.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isOp } from '@magi1/tensor';
import type { AnyOp } from '@magi1/tensor';

export const kernelsFolder = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'packages', 'kernels');
export const rooms: readonly string[] | undefined = process.env['MAGI1_OP']?.split(',');

export async function loadOps(): Promise<AnyOp[]> {
  const modules =
    rooms === undefined
      ? [await import('@magi1/kernels')]
      : await Promise.all(rooms.map((room) => import(join(kernelsFolder, 'src', room, 'index.ts')) as Promise<object>));
  return modules.flatMap((module) => Object.values(module as Record<string, unknown>)).filter(isOp);
}
