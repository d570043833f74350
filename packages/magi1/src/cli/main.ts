// The `magi1` command line: picks the subcommand and turns errors into one line and an exit status.
import { Magi1Error } from '@magi1/tensor';
import { VERSION } from '../version.ts';
import { RequestError } from '../wording.ts';
import { UsageError, helpText, optionNamer, parseCommand } from './command.ts';
import type { Command } from './command.ts';
import { printable, printableLines } from './printable.ts';

/** Only the one that is asked for is imported. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  generate: async () => (await import('./generate.ts')).generate,
  info: async () => (await import('./info.ts')).info,
  plan: async () => (await import('./plan.ts')).plan,
  verify: async () => (await import('./verify.ts')).verify,
  download: async () => (await import('./download.ts')).download,
  quantize: async () => (await import('./quantize.ts')).quantize,
};

let command: Command | undefined;

async function overview(): Promise<string> {
  const commands = await Promise.all(Object.values(COMMANDS).map((load) => load()));
  const rows = commands.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`);
  return `magi1 ${VERSION}: MAGI-1 video generation\n\nUsage: magi1 COMMAND [options]; magi1 COMMAND --help\n\n${rows.join('\n')}\n`;
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === '--version') {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (name === '--help' || name === 'help' || name === '-h') {
    process.stdout.write(await overview());
    return 0;
  }
  command = name !== undefined && Object.hasOwn(COMMANDS, name) ? await COMMANDS[name]!() : undefined;
  if (command === undefined)
    throw new UsageError(
      `${name === undefined ? 'a command is missing' : `no command "${name}"`}: ${Object.keys(COMMANDS).join(', ')} (magi1 --help)`,
    );
  if (rest.some((arg) => arg === '-h')) rest.push('--help');
  const { values, positionals } = parseCommand(
    command,
    rest.filter((arg) => arg !== '-h'),
  );
  if (values.help === true) {
    process.stdout.write(helpText(command));
    return 0;
  }
  return command.run(values, positionals);
}

/** What went wrong, with options as the command line calls them. */
function messageOf(error: unknown): string {
  if (error instanceof RequestError && command !== undefined) return error.wording.inNamesOf(optionNamer(command));
  return error instanceof Error ? error.message : String(error);
}

/** Cause and remedy in one line; the stack only with --debug. */
function report(error: unknown, debug: boolean): void {
  const line = messageOf(error).replace(/\s*\n\s*/g, ' ');
  const hint = error instanceof Magi1Error || debug ? '' : ' (unexpected; --debug shows where)';
  process.stderr.write(`magi1: ${printable(line)}${hint}\n`);
  if (debug && error instanceof Error) {
    process.stderr.write(`${printableLines(error.stack ?? '')}\n`);
    if (error.cause instanceof Error)
      process.stderr.write(`caused by ${printableLines(error.cause.stack ?? error.cause.message)}\n`);
  }
}

// A reader that has seen enough, as in `magi1 info | head`, ends the program; a full disk is an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`magi1: the result cannot be printed: ${error.message}\n`);
  process.exit(1);
});
// Nobody reads what happens any more: a pager that was quit, a terminal that is gone. The run goes on.
process.stderr.on('error', () => undefined);

const args = process.argv.slice(2);
try {
  process.exitCode = await main(args);
} catch (error) {
  report(error, args.includes('--debug'));
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
