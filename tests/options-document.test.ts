// docs/options.md says of every option what the table of options says; `-u` writes it anew.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { expect, it } from 'vitest';
import { OPTION_ENTRIES } from '../packages/magi1/src/pipelines/options.ts';
import { REPOSITORY } from './support/cli.ts';

const FILE = join(REPOSITORY, 'docs', 'options.md');

function rows(): string[] {
  return OPTION_ENTRIES.map(([name, { documented = '', does, flag, elsewhere = '' }]) => {
    const value = flag?.reads === 'timed prompts' ? ` ${flag.value}` : '';
    const alias = flag?.alias === undefined ? '' : `, \`--${flag.alias.replaceAll('-', '_')}\``;
    const repeated = flag?.reads === 'timed prompts' ? ', repeated' : '';
    const typed = flag === undefined ? elsewhere : `\`--${flag.name}${value}\`${alias}${repeated}`;
    return `| \`${name}\` | ${documented} | ${typed} | ${does.replace(/\s+/g, ' ')} |`;
  });
}

it('docs/options.md has the table of options', async () => {
  const head = '| option | documented name | command line | what it does |\n| --- | --- | --- | --- |';
  const text = readFileSync(FILE, 'utf8');
  const written = text.replace(
    /(## Parameters of a request\n\n)[^]*?(?=\n## )/,
    (_, title: string) => `${title}${[head, ...rows()].join('\n')}\n`,
  );
  const formatted = await format(written, { ...(await resolveConfig(FILE)), parser: 'markdown' });
  await expect(formatted).toMatchFileSnapshot(FILE);
});
