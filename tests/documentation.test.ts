// Whatever the documentation and the help texts tell a reader to type works: each command and each JavaScript block runs
// as it stands in a copy of the repository, in the order of the documents, or is listed in documented-table.ts.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { helpText, parseCommand } from '../packages/magi1/src/cli/command.ts';
import type { Command } from '../packages/magi1/src/cli/command.ts';
import { download } from '../packages/magi1/src/cli/download.ts';
import { generate } from '../packages/magi1/src/cli/generate.ts';
import { info } from '../packages/magi1/src/cli/info.ts';
import { plan } from '../packages/magi1/src/cli/plan.ts';
import { quantize } from '../packages/magi1/src/cli/quantize.ts';
import { verify } from '../packages/magi1/src/cli/verify.ts';
import { REPOSITORY, TINY_MODEL } from './support/cli.ts';
import { NOT_RUN, PROMISED } from './support/documented-table.ts';
import type { Instead } from './support/documented-table.ts';
import { documentedIn, documents } from './support/documented.ts';
import type { Documented } from './support/documented.ts';
import { runShell, scratchClone } from './support/scratch-clone.ts';
import { temporaryFolder } from './support/tiny-model.ts';

const COMMANDS: readonly Command[] = [generate, info, plan, verify, download, quantize];
/** README first, since what it makes (videos, the build) is there when the others are read. */
const DOCUMENTS = [...new Set(['README.md', ...documents()])];
const ALL = DOCUMENTS.flatMap((file) => documentedIn(file));
const commands = uniqueTexts(ALL.filter(({ kind }) => kind === 'command'));
const listed = new Map(NOT_RUN.map((entry) => [entry.command, entry]));
const read = (path: string) => readFileSync(join(REPOSITORY, path), 'utf8');

const clone = join(temporaryFolder(), 'clone');
const at = (path: string) => join(clone, path);
/** Standard output of the commands that ran, by command. */
const shown = new Map<string, string>();

/** Documents of a folder with requirements of its own are read there. */
const folderOf = (file: string) => (file.startsWith('training/') ? at('training') : clone);

beforeAll(() => {
  scratchClone(clone);
  mkdirSync(at('path/to'), { recursive: true });
  symlinkSync(TINY_MODEL, at('path/to/model'));
});

function uniqueTexts(all: readonly Documented[]): Documented[] {
  return all.filter(({ text }, i) => all.findIndex((other) => other.text === text) === i);
}

async function runOk(text: string, cwd: string, statuses: readonly number[] = [0]): Promise<string> {
  const { status, stdout, stderr } = await runShell(clone, text, cwd);
  if (!statuses.includes(status ?? -1)) throw new Error(`status ${status}\n${stdout}\n${stderr}`);
  return stdout;
}

/** The words that a shell makes of a command. */
const words = (text: string) =>
  execFileSync('bash', ['-c', `printf '%s\\n' ${text}`], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');

/** A form's brackets say what may be left out. */
function parse(text: string): void {
  const [name, ...args] = words(text.replace(/[[\]]/g, ''));
  const command = COMMANDS.find((known) => known.name === name);
  if (command === undefined) throw new Error(`no command "${name}"`);
  parseCommand(command, args);
}

/** Source of a training module and of those of ours that it imports. */
function pythonSource(name: string, seen = new Set<string>()): string {
  const [folder = '', file = ''] = name.split('.');
  const path = join('training', folder, `${file}.py`);
  if (seen.has(name) || !existsSync(join(REPOSITORY, path))) return '';
  seen.add(name);
  const text = read(path);
  return [
    text,
    ...[...text.matchAll(/^from \.(\w+) import/gm)].map((match) => pythonSource(`${folder}.${match[1]!}`, seen)),
  ].join('\n');
}

async function checkInstead(instead: Instead, command: string, cwd: string): Promise<void> {
  if ('run' in instead) expect(await runOk(instead.run, cwd, instead.statuses)).toMatch(instead.stdout ?? /^/);
  else if ('parses' in instead) parse(instead.parses);
  else if ('files' in instead) for (const path of instead.files) expect(existsSync(at(path)), path).toBe(true);
  else {
    const source = pythonSource(/(?:pocket|tiny)\.\w+/.exec(command)![0]);
    expect(source).toContain('argparse');
    for (const [, option] of command.matchAll(/ --([\w-]+)/g)) expect(source).toMatch(new RegExp(`"(--)?${option}"`));
  }
}

describe('commands', () => {
  for (const { file, line, text } of commands) {
    const entry = listed.get(text);
    const title = `${file}:${line} ${text.replaceAll('\n', '; ')}`;
    it(entry === undefined ? title : `${title} (${entry.why})`, { timeout: 300_000 }, async () => {
      for (const [, script] of text.matchAll(/npm run (?:-s )?([\w:]+)/g))
        expect(Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts)).toContain(script);
      if (entry !== undefined) return checkInstead(entry.instead, text, folderOf(file));
      if (text.startsWith('npm test')) throw new Error('runs this test again: list it in documented-table.ts');
      const stdout = await runOk(text, folderOf(file));
      shown.set(text, stdout);
      const output = /^output +(.+?) \(/m.exec(stdout)?.[1];
      for (const path of [...(output === undefined ? [] : [output]), ...(PROMISED[text]?.files ?? [])])
        expect(statSync(join(path.startsWith('/') ? '' : folderOf(file), path)).size, path).toBeGreaterThan(0);
      expect(stdout).toMatch(PROMISED[text]?.stdout ?? /^/);
    });
  }

  it('are not listed or promised where no document has them', () => {
    const known = commands.map(({ text }) => text);
    expect([...listed.keys(), ...Object.keys(PROMISED)].filter((text) => !known.includes(text))).toEqual([]);
  });

  it('README shows what the demo prints, line by line', () => {
    const sample = /^```\n(output [^]*?)\n```/m.exec(read('README.md'))![1]!;
    const names = (text: string) => text.split('\n').map((line) => /^\w*/.exec(line)![0]);
    const printed = shown.get('npm run demo')!;
    expect(names(printed.slice(printed.indexOf('output')).trim())).toEqual(names(sample));
  });
});

describe('npm run demo', () => {
  const demo = at('out/demo.mp4');

  it('runs again over its own earlier video, and takes what the user gives in any spelling', async () => {
    expect(await runOk('npm run demo -- --seed 3 --num_frames=24', clone)).toMatch(
      /24 frames, 64x64, 24 fps, seed 3\n/,
    );
    mkdirSync(at('elsewhere'));
    const stdout = await runOk('npm run demo -- --output_path=mine.mp4 --num-frames 24', at('elsewhere'));
    expect(stdout).toContain(at('elsewhere/mine.mp4'));
  });

  it('shows help, and leaves the earlier video where the arguments are wrong', async () => {
    const before = statSync(demo);
    expect(await runOk('npm run demo -- --help', clone)).toContain('Usage: magi1 generate');
    const { status, stderr } = await runShell(clone, 'npm run demo -- --sed 3');
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringMatching(/^magi1: .*--sed/m) as string });
    expect(statSync(demo)).toMatchObject({ mtimeMs: before.mtimeMs, size: before.size });
  });
});

describe('JavaScript blocks', () => {
  const snippets = ALL.filter(({ kind }) => kind === 'snippet');
  it('are found', () => expect(snippets.length).toBeGreaterThanOrEqual(5));
  for (const { file, line, text } of snippets) {
    it(`${file}:${line}`, { timeout: 300_000 }, async () => {
      const script = at(`snippet-${line}.mjs`);
      writeFileSync(script, text);
      await runOk(`node ${script}`, clone);
    });
  }
});

describe('options', () => {
  it('that a document names exist', () => {
    const helps = [
      ...COMMANDS.map(helpText),
      shown.get('npm run bench -- --help')!,
      read('evaluation/index.ts'),
      read('scripts/test.mjs'),
      read('scripts/rehearse.mjs'),
      read('scripts/offload-table.mjs'),
    ];
    const known = new Set([...helps.join('\n').matchAll(/--([a-z0-9-]+)/g)].map((match) => match[1]!));
    const python = documentedIn('training/README.md').flatMap(({ kind, text }) =>
      kind === 'command' ? [...text.matchAll(/(?:pocket|tiny)\.\w+/g)].map((match) => pythonSource(match[0])) : [],
    );
    const unknown = ALL.filter(({ kind }) => kind === 'option').filter(({ file, text }) =>
      [...text.matchAll(/(?<=^| )--([\w-]+)/g)].some(([, name = '']) => {
        if (known.has(name) || ['output', 'image', 'video'].includes(name.replace(/^prefix_|_path$/g, '')))
          return false;
        return !(file.startsWith('training/') && new RegExp(`"(--)?${name}"`).test(python.join('\n')));
      }),
    );
    expect(unknown.map(({ file, line, text }) => `${file}:${line} ${text}`)).toEqual([]);
  });
});

describe('help', () => {
  it.each(COMMANDS.map((command) => [command.name, command] as const))(
    '%s: usage and text name what there is',
    (_, command) => {
      const options = Object.keys(command.options);
      for (const [, name] of command.usage.matchAll(/--([\w-]+)/g)) expect(options).toContain(name);
      const text = helpText(command);
      for (const [, name] of text.matchAll(/(?<!-)--([\w-]+)/g)) expect([...options, 'debug', 'help']).toContain(name);
      for (const [, name] of text.matchAll(/\bmagi1 ([a-z]+)/g))
        expect(COMMANDS.map((known) => known.name)).toContain(name);
    },
  );
});

describe('the search for commands', () => {
  const markdown = [
    'Type `npm run demo` or `generate`, and `--seed 3`;',
    '`magi1 generate',
    '--prompt x` too.',
    '```sh',
    'A=1 npx tool --long \\',
    '  more   # why',
    '# a comment',
    'npm test',
    '```',
    '```js',
    'x();',
    '```',
    '```',
    'npm run not-typed',
    '```',
  ].join('\n');
  it('finds every form, joins lines, leaves comments out', () => {
    expect(documentedIn('x.md', markdown).map(({ line, kind, text }) => [line, kind, text])).toEqual([
      [1, 'command', 'npm run demo'],
      [1, 'option', '--seed 3'],
      [2, 'command', 'magi1 generate --prompt x'],
      [5, 'command', 'A=1 npx tool --long more'],
      [8, 'command', 'npm test'],
      [11, 'snippet', 'x();\n'],
    ]);
  });
});
