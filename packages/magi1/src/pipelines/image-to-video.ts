// Image to video: a picture is the first latent frame, the model makes what follows.
import { Magi1Base } from './base.ts';
import { IMAGE_TO_VIDEO } from './mode.ts';
import { locateByConfigFile, locateModel } from './model-folder.ts';
import { openModel } from './open-model.ts';
import type { PipelineOptions } from './open-model.ts';
import { checkPipelineOptions } from './pipeline-options.ts';
import type { ImageToVideoRequest } from './request.ts';
import type { FramesOf, GeneratedVideo } from './result.ts';

export type ImageToVideoOptions = PipelineOptions<ImageToVideoRequest>;

// Calling is part of the class: its constructor returns a function (see callable.ts).
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface Magi1ImageToVideoPipeline {
  /** Runs a request: `const { frames } = await pipe({ prompt, image })`. */
  <R extends ImageToVideoRequest>(request: R): Promise<GeneratedVideo<FramesOf<R>>>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Magi1ImageToVideoPipeline extends Magi1Base<ImageToVideoRequest> {
  /**
   * Opens a model folder: `config.json` in the original's format, relative paths counted from the folder. Everything
   * is checked, the memory need included, before weights are loaded.
   */
  static async fromPretrained(folder: string, options: ImageToVideoOptions = {}): Promise<Magi1ImageToVideoPipeline> {
    checkPipelineOptions(folder, options);
    const source = await locateModel(folder, options.environment);
    return new Magi1ImageToVideoPipeline(await openModel(source, IMAGE_TO_VIDEO, options));
  }

  /** Opens a config file of the original, whose relative paths count from the working directory, with its environment. */
  static async fromConfigFile(file: string, options: ImageToVideoOptions = {}): Promise<Magi1ImageToVideoPipeline> {
    checkPipelineOptions(file, options);
    const source = await locateByConfigFile(file, options.environment);
    return new Magi1ImageToVideoPipeline(await openModel(source, IMAGE_TO_VIDEO, options));
  }
}
