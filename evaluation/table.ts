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

export const show = (name: string, value: number): string =>
  name.includes('PSNR') ? `${value.toFixed(1)} dB` : `${(100 * value).toFixed(1)} %`;

export function line({ name, clips }: ColumnResult): string {
  const values = [...means(clips)].map(([value, mean]) => `${value} ${show(value, mean)}`);
  return `${name} (${clips.length} clips): ${values.join(', ')}`;
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

export function markdown(results: readonly ColumnResult[], verdicts: readonly Verdict[], machine: string): string {
  const rows = results.map((result) => {
    const values = [...means(result.clips)].map(([value, mean]) => `${value} ${show(value, mean)}`);
    return `| ${result.name} | ${result.what} | ${result.clips.length} | ${values.join(' · ')} |`;
  });
  const goals = verdicts.map(
    ({ column, value, least, reached, met }) =>
      `| ${column} | ${value} | ${show(value, least)} | ${reached === undefined ? '-' : show(value, reached)} | ${met ? 'met' : 'missed'} |`,
  );
  return [
    '# Evaluation of the pocket model',
    `Written by \`npm run -s eval\`: an oracle looks at the decoded frames of clips from held-out prompts, whose combinations of colour, shape and motion were never trained on. ${machine}`,
    ['| model | what | clips | share of clips |', '| --- | --- | --- | --- |', ...rows].join('\n'),
    '## Goals',
    ['| model | value | goal | reached | |', '| --- | --- | --- | --- | --- |', ...goals].join('\n'),
    '',
  ].join('\n\n');
}
