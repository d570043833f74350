// How much of a model is on the device at a time: a ladder whose every step holds less, and keeps what the steps before save.
import type { Environment } from '../config/index.ts';

export const OFFLOADS = ['none', 'text', 'group', 'disk'] as const;

/**
 * 'none': the three networks stay loaded. 'text': the text encoder is freed before the others are loaded, and loaded again
 * for the next prompt. 'group': besides, blocks are brought while a network runs, two of them being on the device; their
 * weights wait in host memory where the device has its own, else in the files. 'disk': they always wait in the files.
 */
export type Offload = (typeof OFFLOADS)[number];

/** For people. */
export const OFFLOAD_WORDS: Readonly<Record<Offload, string>> = {
  none: 'all networks loaded',
  text: 'the text encoder freed after the text',
  group: 'blocks brought while a network runs',
  disk: 'blocks read from the files while a network runs',
};

/** What may be chosen: the one that was asked for, else whatever fits; OFFLOAD_T5_CACHE asks for 'text' at least. */
export function offloadsOf(asked: Offload | undefined, { offloadT5Cache }: Environment): readonly Offload[] {
  if (asked !== undefined) return [asked];
  return offloadT5Cache ? OFFLOADS.slice(1) : OFFLOADS;
}
