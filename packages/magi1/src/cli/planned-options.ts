// The options of commands that look at a run without making it.
import type { CacheDType } from '@magi1/kernels';
import type { DType } from '@magi1/tensor';
import type { InspectOptions } from '../pipelines/inspect.ts';
import { UsageError, WEIGHT_DTYPES, choice, wholeNumber } from './command.ts';
import type { OptionSpec, Values } from './command.ts';
import { REQUEST_OPTIONS } from './generate-request.ts';
import { offloadOption } from './model-options.ts';

/** What of a request decides its memory and its time. */
const SIZES = ['height', 'width', 'num-frames', 'prefix-frames', 'steps', 'max-sequence-length'];

export const PLANNED_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  ...Object.fromEntries([...SIZES, 'cache-dtype'].map((name) => [name, REQUEST_OPTIONS[name]!])),
  mode: { value: 'MODE', help: 't2v, i2v or v2v; default t2v' },
  height: { value: 'PIXELS', help: "multiple of 16; what is left out is the config's" },
};

export function plannedOptions(values: Values): InspectOptions & { readonly dtype?: DType | undefined } {
  const mode = choice(values, 'mode', ['t2v', 'i2v', 'v2v']) ?? 't2v';
  if (values['prefix-frames'] !== undefined && mode !== 'v2v')
    throw new UsageError(`--prefix-frames belongs to --mode v2v, not ${mode}`);
  const number = (name: string) => {
    const value = wholeNumber(values, name);
    return value === undefined ? [] : [[REQUEST_OPTIONS[name]!.sets!, value] as const];
  };
  return {
    dtype: choice<DType>(values, 'dtype', WEIGHT_DTYPES),
    mode,
    offload: offloadOption(values),
    request: {
      ...Object.fromEntries(SIZES.flatMap(number)),
      cacheDType: choice<CacheDType>(values, 'cache-dtype', ['f32', 'f16', 'bf16', 'q8']),
    },
  };
}
