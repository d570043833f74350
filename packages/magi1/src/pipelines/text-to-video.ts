// Text to video: the pipeline that most users call.
import type { Environment } from '../config/index.ts';
import { Magi1Base, openModel } from './base.ts';
import type { GeneratedVideo, PipelineOptions } from './base.ts';
import { locateByConfigFile, locateModel } from './model-folder.ts';
import type { ModelSource } from './model-folder.ts';
import { checkRequest, describe } from './request.ts';
import type { CheckedRequest, TextToVideoRequest } from './request.ts';

export type TextToVideoOptions = PipelineOptions<TextToVideoRequest>;

// Calling is part of the class: its constructor returns a function (see callable.ts).
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface Magi1Pipeline {
  /** Runs a request: `const { frames } = await pipe({ prompt })`. */
  (request: TextToVideoRequest): Promise<GeneratedVideo>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Magi1Pipeline extends Magi1Base<TextToVideoRequest> {
  readonly mode = 't2v';

  /**
   * Opens a model folder: `config.json` in the original's format, relative paths counted from the folder. Everything
   * is checked, the memory need included, before weights are loaded.
   */
  static async fromPretrained(folder: string, options: TextToVideoOptions = {}): Promise<Magi1Pipeline> {
    return Magi1Pipeline.#open(await locateModel(folder, options.environment), options);
  }

  /** Opens a config file of the original, whose relative paths count from the working directory, with its environment. */
  static async fromConfigFile(file: string, options: TextToVideoOptions = {}): Promise<Magi1Pipeline> {
    return Magi1Pipeline.#open(await locateByConfigFile(file, options.environment), options);
  }

  static async #open(source: ModelSource, options: TextToVideoOptions): Promise<Magi1Pipeline> {
    const request = options.request ?? { prompt: '' };
    return new Magi1Pipeline(await openModel(source, options, () => checkTextToVideo(request, source)));
  }

  protected override check(request: TextToVideoRequest): CheckedRequest {
    return checkTextToVideo(request, { config: this.config, environment: this.environment });
  }

  protected override promptOf({ prompt }: TextToVideoRequest): string {
    return prompt;
  }
}

function checkTextToVideo(
  request: TextToVideoRequest,
  { config, environment }: Pick<ModelSource, 'config'> & { readonly environment: Environment },
): CheckedRequest {
  const { prompt } = (request ?? {}) as { readonly prompt?: unknown };
  const fault = typeof prompt === 'string' ? undefined : `prompt: text expected, got ${describe(prompt)}`;
  return checkRequest(request, { prompt: fault }, config, environment.specialTokens);
}
