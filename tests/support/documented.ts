// What the documentation tells readers to type: shell blocks, commands in running text, JavaScript blocks.
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { REPOSITORY } from './cli.ts';

export interface Documented {
  /** Relative to the repository. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly kind: 'command' | 'snippet' | 'option';
  readonly text: string;
}

const GENERATED = ['node_modules', 'dist', '.git', '.cache', '.venv', 'out', 'peers', 'results'];
const PROGRAMS = ['npm', 'npx', 'node', 'magi1', 'python', 'pip', 'pnpm', 'git', 'ffmpeg', 'ffprobe'];
const SUBCOMMANDS = ['generate', 'info', 'verify', 'download'];

/** Markdown files of the repository, relative to it. */
export function documents(folder = REPOSITORY): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => !GENERATED.includes(name))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return documents(path);
      return entry.isFile() && entry.name.endsWith('.md') ? [relative(REPOSITORY, path).replaceAll('\\', '/')] : [];
    })
    .sort();
}

/** Everything to type in one document, in its order. */
export function documentedIn(file: string, markdown = readFileSync(join(REPOSITORY, file), 'utf8')): Documented[] {
  const found: Documented[] = [];
  const prose = markdown.replace(
    /^([ ]*)```(\w*)\n([^]*?)^\1```$/gm,
    (block, _, language: string, body: string, at: number) => {
      const line = lineOf(markdown, at) + 1;
      if (language === 'js' || language === 'ts') found.push({ file, line, kind: 'snippet', text: body });
      if (language === 'sh')
        for (const { text, offset } of shellCommands(body))
          found.push({ file, line: line + offset, kind: 'command', text });
      return block.replace(/[^\n]/g, ' ');
    },
  );
  for (const match of prose.matchAll(/`([^`]+)`/g)) {
    const text = match[1]!.replace(/\s+/g, ' ').trim();
    const where = { file, line: lineOf(markdown, match.index), text };
    if (isCommand(text)) found.push({ ...where, kind: 'command' });
    else if (/^--[a-z]/.test(text)) found.push({ ...where, kind: 'option' });
  }
  return found.sort((a, b) => a.line - b.line);
}

const lineOf = (text: string, at: number) => text.slice(0, at).split('\n').length;

/** One word alone, as `generate` or `npm`, is the name of a thing. */
function isCommand(text: string): boolean {
  const [first = '', second] = text.replace(/^([A-Z_0-9]+=\S+ )+/, '').split(' ');
  if (second === undefined) return false;
  return PROGRAMS.includes(first) || SUBCOMMANDS.includes(first) || /^pocket\.\w+$/.test(first);
}

/** Lines of a shell block without comments; continued lines are one, a block that sets a variable is one as a whole. */
function shellCommands(body: string): { text: string; offset: number }[] {
  const indent = /^ */.exec(body)![0].length;
  const lines = body.split('\n').map((line) => line.slice(indent).replace(/(^|\s+)#.*$/, ''));
  if (/^[A-Z]+=\S+$/.test(lines[0]!)) return [{ text: lines.join('\n').trim(), offset: 0 }];
  const commands: { text: string; offset: number }[] = [];
  let continued = false;
  lines.forEach((line, offset) => {
    const text = line.replace(/\s*\\$/, '').trim();
    if (continued) commands.push({ text: `${commands.at(-1)!.text} ${text}`, offset: commands.pop()!.offset });
    else if (text !== '') commands.push({ text, offset });
    continued = line.endsWith('\\');
  });
  return commands;
}
