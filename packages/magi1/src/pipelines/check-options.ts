// Checks of a request's options, each by the table and all together.
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { expected, unknownNames } from './option-checks.ts';
import { OPTIONS, OPTION_ENTRIES, hasOption } from './options.ts';
import type { ModeName } from './options.ts';
import type { ChunkPrompt, GenerationOptions } from './request.ts';

/** Everything that is wrong with a request, as far as its plan need not be known. */
export function requestFaults(request: object, mode: ModeName, config: Magi1Config): Wording[] {
  const known = OPTION_ENTRIES.filter(([, entry]) => hasOption(mode, entry));
  const faults = known.flatMap(([name, { check, required }]) => {
    const value = (request as Record<string, unknown>)[name];
    if (value !== undefined) return check(value, name, config);
    return required === undefined ? [] : [expected(name, required, value)];
  });
  return [
    ...unknownNames(
      request,
      known.map(([name]) => name),
    ),
    ...faults,
    ...togetherFaults(request, faults.length === 0),
  ];
}

/** Of signal and listener, wherever they are taken. */
export function callFaults({ signal, onProgress }: { signal?: unknown; onProgress?: unknown }): Wording[] {
  return [
    ...(signal === undefined ? [] : OPTIONS.signal.check(signal, 'signal')),
    ...(onProgress === undefined ? [] : OPTIONS.onProgress.check(onProgress, 'onProgress')),
  ];
}

const TOKEN_OPTIONS = OPTION_ENTRIES.flatMap(([name, { token: key }]) =>
  key === undefined ? [] : [{ name: name as keyof GenerationOptions, key }],
);

/** Switches that a request sets by the documented pipelines' names. */
export function tokenOptions(request: GenerationOptions): Partial<SpecialTokenSwitches> {
  const given = TOKEN_OPTIONS.filter(({ name }) => request[name] !== undefined);
  return Object.fromEntries(given.map(({ name, key }) => [key, request[name]]));
}

/** The option by which a request switches a token on; undefined where it does not. */
export function tokenOptionOf(request: GenerationOptions, token: keyof SpecialTokenSwitches): string | undefined {
  const own = TOKEN_OPTIONS.find(({ name, key }) => key === token && request[name] === true);
  return own?.name ?? (request.specialTokens?.[token] === true ? 'specialTokens' : undefined);
}

/** Prompts of a batch; 1 where there is no list. */
export function countPrompts({ prompt, promptEmbeds }: GenerationOptions): number {
  const given: unknown = prompt ?? promptEmbeds;
  return Array.isArray(given) ? given.length : 1;
}

/** What options say together. */
function togetherFaults(request: GenerationOptions, eachIsRight: boolean): Wording[] {
  const { prompt, promptEmbeds, negativePrompt, negativePromptEmbeds, chunkPrompts: parts } = request;
  const faults: Wording[] = [];
  if (prompt !== undefined && promptEmbeds !== undefined)
    faults.push(worded`${option('prompt')} and ${option('promptEmbeds')}: give one of them, not both`);
  if (negativePrompt !== undefined && negativePromptEmbeds !== undefined)
    faults.push(worded`${option('negativePrompt')} and ${option('negativePromptEmbeds')}: give one of them, not both`);
  const fromStart =
    Array.isArray(parts) && (parts as (ChunkPrompt | null)[]).some((part) => part?.chunk === 0 || part?.second === 0);
  if (prompt === undefined && promptEmbeds === undefined && !fromStart)
    faults.push(worded`${option('prompt')}: text expected, got nothing (nor ${option('promptEmbeds')})`);
  const negative = negativePrompt ?? negativePromptEmbeds;
  if (eachIsRight && faults.length === 0 && Array.isArray(negative) && negative.length !== countPrompts(request))
    faults.push(
      worded`${option(negativePrompt === undefined ? 'negativePromptEmbeds' : 'negativePrompt')}: ${negative.length} given for ${countPrompts(request)} prompts; give one, or one for each prompt`,
    );
  for (const { name, key } of TOKEN_OPTIONS) {
    const other = request.specialTokens?.[key];
    if (request[name] !== undefined && other !== undefined && other !== request[name])
      faults.push(worded`${option(name)} and specialTokens.${key} contradict each other`);
  }
  return faults;
}
