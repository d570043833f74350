// trained.json beside a model's config: what a small model was trained on, so that users can be told what it knows.
import { Magi1Error } from '@magi1/tensor';
import { z } from 'zod';
import { readJson } from '../checkpoint.ts';
import type { Settings } from './settings.ts';

const FILE = 'trained.json';

const trainedSchema = z.strictObject({
  /** One sentence: what prompts the model understands. */
  knows: z.string().regex(/^[^\r\n]+$/, 'one line expected'),
  /** Pixels. */
  height: z.int().positive(),
  width: z.int().positive(),
  /** Length of the longest clips. */
  numFrames: z.int().positive(),
});

export type Trained = z.infer<typeof trainedSchema>;

/** The file's content, or null where the folder has none. */
export async function readTrained(folder: string): Promise<Trained | null> {
  const { access } = await import('node:fs/promises');
  const file = `${folder}/${FILE}`;
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (!there) return null;
  const parsed = trainedSchema.safeParse(await readJson(file));
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new Magi1Error(`${file}: ${faults.join('; ')}`);
}

/** One note about a run of other sizes than the model has seen. */
export function untrainedSize(
  trained: Trained,
  { height, width, frames, prefixFrames }: Pick<Settings, 'height' | 'width' | 'frames' | 'prefixFrames'>,
): string[] {
  const faults: string[] = [];
  if (height !== trained.height || width !== trained.width)
    faults.push(`${width}x${height} where it was trained on ${trained.width}x${trained.height}`);
  if (prefixFrames + frames > trained.numFrames)
    faults.push(`${prefixFrames + frames} frames where it was trained on up to ${trained.numFrames}`);
  return faults.length === 0 ? [] : [`a size this model does not know, expect less of it: ${faults.join(', ')}`];
}
