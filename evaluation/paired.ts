// What narrower types cost: the same prompts and seeds as stored and in them, clip by clip.
import type { Values } from './columns.ts';

/** What the mean is taken of. */
export const JUDGED = ['colour', 'shape', 'count', 'direction'] as const;

export interface Difference {
  readonly name: string;
  readonly before: number;
  readonly after: number;
  /** Half of the 95 % interval of the difference. */
  readonly margin: number;
}

/**
 * Shares before and after, and the mean of them. Clips of one prompt are alike, so that the interval is that of prompts:
 * clip i is of prompt i modulo `prompts`.
 */
export function differences(before: readonly Values[], after: readonly Values[], prompts: number): Difference[] {
  const each = JUDGED.map((name) => {
    const asked = before.map((values, i) => ({ i, from: values[name], to: after[i]?.[name] }));
    const pairs = asked.flatMap(({ i, from, to }) => (from === undefined || to === undefined ? [] : [{ i, from, to }]));
    const mean = (value: (pair: (typeof pairs)[number]) => number) =>
      pairs.reduce((sum, pair) => sum + value(pair), 0) / Math.max(pairs.length, 1);
    const parts = new Map<number, number>(); // of the difference, by prompt
    for (const { i, from, to } of pairs)
      parts.set(i % prompts, (parts.get(i % prompts) ?? 0) + (to - from) / pairs.length);
    return { name, before: mean(({ from }) => from), after: mean(({ to }) => to), parts };
  }).filter(({ parts }) => parts.size > 0);
  const all = new Map<number, number>();
  for (const { parts } of each)
    for (const [prompt, part] of parts) all.set(prompt, (all.get(prompt) ?? 0) + part / each.length);
  const average = (value: 'before' | 'after') => each.reduce((sum, one) => sum + one[value], 0) / each.length;
  const mean = { name: 'mean', before: average('before'), after: average('after'), parts: all };
  return [...each, mean].map(({ parts, ...rest }) => ({ ...rest, margin: marginOf([...parts.values()]) }));
}

/** Of a sum of independent parts, by their spread. */
function marginOf(parts: readonly number[]): number {
  const count = parts.length;
  if (count < 2) return Infinity;
  const mean = parts.reduce((sum, part) => sum + part, 0) / count;
  const spread = parts.reduce((sum, part) => sum + (part - mean) ** 2, 0) * (count / (count - 1));
  return 1.96 * Math.sqrt(spread);
}

export function pairedLine({ name, before, after, margin }: Difference): string {
  const percent = (share: number) => (100 * share).toFixed(1);
  const points = 100 * (after - before);
  const sign = points > 0 ? '+' : '';
  return `${name.padEnd(9)}  ${percent(before).padStart(5)} %  ${percent(after).padStart(5)} %  ${(sign + points.toFixed(2)).padStart(6)} points (95 %: +-${percent(margin)})`;
}
