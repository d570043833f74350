// What the environment says about the hub, by the variables that Python's huggingface_hub reads.
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { checkEndpoint } from '../repository.ts';

export interface HubSettings {
  readonly endpoint: string | undefined;
  readonly token: string | undefined;
  /** The folder of all repositories that were downloaded. */
  readonly cache: string;
}

type Variables = Readonly<Record<string, string | undefined>>;

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

/** @throws Magi1Error where the environment forbids the network, or for a token that cannot be sent */
export function hubSettings(variables: Variables = process.env): HubSettings {
  // Set to nothing is not set.
  const get = (name: string): string | undefined => variables[name] || undefined;
  const path = (name: string): string | undefined =>
    get(name)
      ?.replace(/^~(?=$|[\\/])/, homedir())
      .replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, a?: string, b?: string) => variables[a ?? b ?? ''] ?? all);
  const offline = ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'].find((name) => isTrue(get(name)));
  if (offline !== undefined) throw new Magi1Error(`${offline} is set: nothing can be downloaded`);
  const home = path('HF_HOME') ?? join(path('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  const token = isTrue(get('HF_HUB_DISABLE_IMPLICIT_TOKEN'))
    ? undefined
    : (get('HF_TOKEN') ?? get('HUGGING_FACE_HUB_TOKEN') ?? readToken(path('HF_TOKEN_PATH') ?? join(home, 'token')));
  const plain = token?.trim();
  if (plain !== undefined && !/^[\x21-\x7e]*$/.test(plain))
    throw new Magi1Error('HF_TOKEN: holds characters that no token has');
  const endpoint = get('HF_ENDPOINT');
  if (endpoint !== undefined) checkEndpoint('HF_ENDPOINT', endpoint);
  return {
    endpoint,
    token: plain || undefined,
    cache: path('HF_HUB_CACHE') ?? path('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
  };
}

function readToken(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined; // nobody has logged in on this machine
  }
}
