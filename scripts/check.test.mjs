// The check of import cycles, which `npm run check` and `npm test` run over the packages.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { importCycles } from './check.mjs';

const folder = mkdtempSync(join(tmpdir(), 'magi1-cycles-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** @param {string} name @param {Record<string, string>} files */
async function cyclesOf(name, files) {
  mkdirSync(join(folder, name));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, name, file), text);
  return (await importCycles(join(folder, name, '*.ts'))).map((line) => line.replaceAll(/\S*[/\\]/g, ''));
}

it('a cycle is told file by file, whatever it passes through', async () => {
  const files = {
    'a.ts': "import { b } from './b.ts';\nexport const a = () => b;\n",
    'b.ts': "import { a } from './c.ts';\nexport const b = () => a;\n",
    'c.ts': "export { a } from './a.ts';\n",
  };
  const [line = '', ...more] = await cyclesOf('three', files);
  expect(more).toEqual([]);
  expect(line).toMatch(/^(\w\.ts) imports (\w\.ts), which imports (\w\.ts), which imports \1$/);
  for (const name of Object.keys(files)) expect(line).toContain(name);
});

it('a type that is imported back is one', async () => {
  const files = {
    'index.ts':
      "import { kernel } from './kernel.ts';\nexport interface Params { size: number }\nexport const op = { kernel };\n",
    'kernel.ts': "import type { Params } from './index.ts';\nexport const kernel = ({ size }: Params) => size;\n",
  };
  expect(await cyclesOf('types', files)).toHaveLength(1);
});

it('a type that a third file holds is none', async () => {
  const files = {
    'contract.ts': 'export interface Params { size: number }\n',
    'index.ts': "import { kernel } from './kernel.ts';\nexport const op = { kernel };\n",
    'kernel.ts': "import type { Params } from './contract.ts';\nexport const kernel = ({ size }: Params) => size;\n",
  };
  expect(await cyclesOf('contract', files)).toEqual([]);
});

it('a helper that a room shares from its index is one', async () => {
  const files = {
    'index.ts':
      "import { kernel } from './kernel.ts';\nexport const half = (n: number) => n / 2;\nexport const op = { kernel };\n",
    'kernel.ts': "import { half } from './index.ts';\nexport const kernel = () => half(4);\n",
  };
  expect(await cyclesOf('helper', files)).toHaveLength(1);
});
