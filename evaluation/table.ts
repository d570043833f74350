// Results as text: one line per column on the terminal, a table in docs/evaluation.md.
import type { Values } from './columns.ts';

export interface ColumnResult {
  readonly name: string;
  readonly what: string;
  readonly clips: readonly Values[];
}

/** What the pocket model must reach, as shares or dB, by column and value. */
export interface Goal {
  readonly column: string;
  readonly value: string;
  readonly least: number;
}

/** Mean of each value over the clips that have it. */
export function means(clips: readonly Values[]): Map<string, number> {
  const names = new Set(clips.flatMap((values) => Object.keys(values)));
  return new Map(
    [...names].map((name) => {
      const given = clips.map((values) => values[name]).filter((value) => value !== undefined);
      return [name, given.reduce((sum, value) => sum + value, 0) / given.length];
    }),
  );
}

/** A share in percent, or what the name says: PSNR in dB, time in seconds, memory in MiB. */
export function show(name: string, value: number): string {
  if (name.includes('PSNR')) return `${value.toFixed(1)} dB`;
  if (name.includes('time')) return `${value.toFixed(1)} s`;
  if (name.includes('memory')) return `${value.toFixed(1)} MiB`;
  return `${(100 * value).toFixed(1)} %`;
}

/** Each value's mean; of a time the median, with the least and the most. */
function cells(clips: readonly Values[]): string[] {
  return [...means(clips)].map(([name, mean]) => {
    if (!name.includes('time')) return `${name} ${show(name, mean)}`;
    const sorted = clips.map((values) => values[name]!).sort((a, b) => a - b);
    const median = (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
    return `${name} ${show(name, median)} (${sorted[0]!.toFixed(1)} to ${sorted.at(-1)!.toFixed(1)})`;
  });
}

export function line({ name, clips }: ColumnResult): string {
  return `${name} (${clips.length} clips): ${cells(clips).join(', ')}`;
}

export interface Verdict extends Goal {
  /** undefined: not measured in this run. */
  readonly reached: number | undefined;
  readonly met: boolean;
}

export function judge(goals: readonly Goal[], results: readonly ColumnResult[]): Verdict[] {
  return goals.map((goal) => {
    const column = results.find(({ name }) => name === goal.column);
    const reached = column === undefined ? undefined : means(column.clips).get(goal.value);
    return { ...goal, reached, met: reached !== undefined && reached >= goal.least };
  });
}

/** `about`: the model and the machine, in words. */
export function markdown(results: readonly ColumnResult[], verdicts: readonly Verdict[], about: string): string {
  const rows = results.map(
    ({ name, what, clips }) => `| ${name} | ${what} | ${clips.length} | ${cells(clips).join(' · ')} |`,
  );
  const goals = verdicts.map(
    ({ column, value, least, reached, met }) =>
      `| ${column} | ${value} | ${show(value, least)} | ${reached === undefined ? '-' : show(value, reached)} | ${met ? 'met' : 'missed'} |`,
  );
  return [
    '# Evaluation of the pocket model',
    `Written by \`npm run -s eval\`: an oracle looks at the decoded frames of clips from held-out prompts, whose combinations of colour, shape and motion were never trained on. ${about}`,
    ['| column | what | clips | share of clips, or what the name says |', '| --- | --- | --- | --- |', ...rows].join(
      '\n',
    ),
    '## Goals',
    ['| model | value | goal | reached | |', '| --- | --- | --- | --- | --- |', ...goals].join('\n'),
    '',
  ].join('\n\n');
}
