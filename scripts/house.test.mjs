// The figures of the code, on a clone of two packages.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { figuresOf } from './house.mjs';

const root = mkdtempSync(join(tmpdir(), 'magi1-house-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SIX = ['one();', 'two();', 'three();', 'four();', 'five();', 'six();'];

it('counts lines, what stands twice, circles of types and deep imports', () => {
  const files = {
    'packages/a/src/room/x.ts': ["import type { Y } from './y.ts';", '// why', '', ...SIX].join('\n'),
    'packages/a/src/room/y.ts': ["import { x } from './x.ts';", ...SIX.map((line) => `  ${line}`)].join('\n'),
    'packages/a/src/room/x.test.ts': SIX.join('\n'),
    'packages/b/src/index.ts': [...SIX.slice(1), '}', "export * from '../../a/src/room/x.ts';"].join('\n'),
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), `${text}\n`);
  }
  expect(Object.fromEntries(figuresOf(root))).toMatchObject({
    'lines of code, a': 14,
    'lines of comment, a': 1,
    'blank lines, a': 1,
    'lines of code, b': 7,
    'duplicated lines, a': 12,
    'duplicated lines, b': 0,
    'files in circular imports': 2,
    'deep imports': 1,
    'files, a/src/room': 2,
    'files, b/src': 1,
  });
});
