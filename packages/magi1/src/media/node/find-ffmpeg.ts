// The system's ffmpeg: where it is, its version, what it can do.
import { execute } from './child.ts';

export interface Ffmpeg {
  readonly command: string;
  readonly version: string;
}

export type FoundFfmpeg = Ffmpeg | { readonly unusable: string };

/** Its messages tell their level from here on, which reading needs. */
const OLDEST = 4.1;
/** Seconds in which it must tell its version. */
const LONGEST_ANSWER = 15;

/** The system's ffmpeg, able to write H.264, or why it cannot be used. `MAGI1_FFMPEG` names another than that on the PATH. */
export async function findFfmpeg(signal?: AbortSignal): Promise<FoundFfmpeg> {
  const ffmpeg = await findFfmpegReader(signal);
  if ('unusable' in ffmpeg) return ffmpeg;
  const { command, version } = ffmpeg;
  const encoders = await execute(command, ['-hide_banner', '-loglevel', 'error', '-encoders'], LONGEST_ANSWER, signal);
  if (encoders === 'silent') return { unusable: noAnswer(command, LONGEST_ANSWER) };
  return /\blibx264\b/.test(encoders.output) ? ffmpeg : { unusable: `ffmpeg ${version} has no libx264 encoder` };
}

const found = new Map<string, FoundFfmpeg>();

/** As `findFfmpeg`, but to read with: no encoder is asked for. One that was found, or that hangs, is remembered. */
export async function findFfmpegReader(signal?: AbortSignal, seconds = LONGEST_ANSWER): Promise<FoundFfmpeg> {
  const command = process.env.MAGI1_FFMPEG ?? 'ffmpeg';
  const known = found.get(command);
  if (known !== undefined) return known;
  const version = await askVersion(command, seconds, signal);
  if (typeof version === 'object') return version;
  const ffmpeg = version === 'silent' ? { unusable: noAnswer(command, seconds) } : { command, version };
  found.set(command, ffmpeg);
  return ffmpeg;
}

const noAnswer = (command: string, seconds: number): string => `${command} gives no answer within ${seconds} s`;

async function askVersion(
  command: string,
  seconds: number,
  signal: AbortSignal | undefined,
): Promise<string | { readonly unusable: string }> {
  let exit;
  try {
    exit = await execute(command, ['-hide_banner', '-version'], seconds, signal);
  } catch (error) {
    signal?.throwIfAborted();
    const { code } = error as NodeJS.ErrnoException;
    return {
      unusable: code === 'ENOENT' ? `no ${command} on this machine` : `${command} does not start (${code ?? ''})`,
    };
  }
  if (exit === 'silent') return 'silent';
  const name = /^ffmpeg version (\S+)/m.exec(exit.output)?.[1];
  if (exit.code !== 0 || name === undefined) return { unusable: `${command} does not tell its version` };
  // Builds from a repository are named by commit (N-12345-g...) and are newer than any release refused here.
  const release = /^n?(\d+)\.(\d+)/.exec(name);
  const isOld = release !== null && (Number(release[1]) < 4 || (Number(release[1]) === 4 && release[2] === '0'));
  return isOld ? { unusable: `ffmpeg ${name} is older than ${OLDEST}` } : name;
}
