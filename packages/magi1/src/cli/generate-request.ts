// The options of `magi1 generate` that say what to make, by the table of the library's options.
import { OPTIONS, OPTION_ENTRIES } from '../pipelines/options.ts';
import { hasOption } from '../pipelines/option-checks.ts';
import type { Flag } from '../pipelines/option-checks.ts';
import type { ModeName } from '../pipelines/request.ts';
import type { ChunkPrompt, GenerationOptions } from '../pipelines/request.ts';
import { UsageError, choice, decimalNumber, requiredText, text, texts, wholeNumber } from './command.ts';
import type { OptionSpec, Values } from './command.ts';

const FLAGS = OPTION_ENTRIES.flatMap(([option, entry]) =>
  entry.flag === undefined ? [] : [{ option, entry, flag: entry.flag }],
);

export const REQUEST_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  mode: { value: 'MODE', help: 't2v, i2v or v2v; default by what is given: --image is i2v, --video is v2v' },
  ...Object.fromEntries(FLAGS.map(({ option, flag }) => [flag.name, specOf(option, flag)])),
};

function specOf(sets: string, { value, help, alias, reads }: Flag): OptionSpec {
  return {
    help,
    sets,
    ...(value === undefined ? {} : { value }),
    ...(alias === undefined ? {} : { alias }),
    ...(reads === 'timed prompts' ? { repeats: true } : {}),
  };
}

export interface CommandRequest {
  readonly mode: ModeName;
  readonly request: GenerationOptions & { readonly keepClip?: boolean };
  /** Files that the video starts from, by option. */
  readonly inputs: Readonly<Record<string, string>>;
}

/** @throws UsageError for options that are missing, malformed or of another mode */
export function readRequest(values: Values): CommandRequest {
  const mode = readMode(values);
  requiredText(values, 'prompt');
  const given = FLAGS.filter(({ flag: { name } }) => values[name] !== undefined);
  const request = Object.fromEntries(given.map(({ option, flag }) => [option, read(values, flag)]));
  const { image, video } = OPTIONS;
  const inputs = [image, video].flatMap(({ flag: { name } }) => {
    const file = text(values, name);
    return file === undefined ? [] : [[name, file] as const];
  });
  return { mode, request, inputs: Object.fromEntries(inputs) };
}

/** The mode that is named or follows from what is given; every option must be one of it. */
function readMode(values: Values): ModeName {
  const [image, video] = [text(values, 'image'), text(values, 'video')];
  const wanted = choice(values, 'mode', ['t2v', 'i2v', 'v2v']);
  if (image !== undefined && video !== undefined)
    throw new UsageError('--image and --video: a video starts from one of them, leave the other out');
  const mode = wanted ?? (video !== undefined ? 'v2v' : image !== undefined ? 'i2v' : 't2v');
  for (const { entry, flag } of FLAGS) {
    const { modes = [], required } = entry;
    if (values[flag.name] === undefined) {
      if (required !== undefined && modes.includes(mode)) throw new UsageError(`--mode ${mode} needs --${flag.name}`);
    } else if (!hasOption(mode, entry)) {
      const without = modes.length === 1 ? 'no --video' : 'no --image and no --video';
      throw new UsageError(
        wanted === undefined && mode === 't2v'
          ? `--${flag.name} says ${flag.says ?? ''}, but there is ${without}`
          : `--${flag.name} belongs to --mode ${modes.join(' or ')}, not ${mode}`,
      );
    }
  }
  return mode;
}

function read(values: Values, { name, reads }: Flag): unknown {
  switch (reads) {
    case 'text':
      return text(values, name);
    case 'whole number':
      return wholeNumber(values, name);
    case 'number':
      return decimalNumber(values, name);
    case 'switch':
      return values[name] === true;
    case 'timed prompts':
      return texts(values, name).map(promptAt);
    default:
      return choice(values, name, reads);
  }
}

function promptAt(given: string): ChunkPrompt {
  const match = /^(\d+(?:\.\d+)?):([^]*)$/.exec(given);
  if (match === null) throw new UsageError(`--prompt-at: SECONDS:TEXT expected, as in 2:"it rains", got "${given}"`);
  return { second: Number(match[1]), prompt: match[2]! };
}
