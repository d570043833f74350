// Video to video: the model makes what follows the last frames of a clip, or its first ones.
import { videoFrames } from '../media/index.ts';
import { Magi1Base } from './base.ts';
import { VIDEO_TO_VIDEO, mediaDefaults } from './mode.ts';
import { locateByConfigFile, locateModel } from './model-folder.ts';
import { openModel } from './open-model.ts';
import type { OpenedModel, PipelineOptions } from './open-model.ts';
import { checkPipelineOptions } from './pipeline-options.ts';
import type { VideoToVideoRequest } from './request.ts';
import type { FramesOf, GeneratedVideo } from './result.ts';

export type VideoToVideoOptions = PipelineOptions<VideoToVideoRequest>;

// Calling is part of the class: its constructor returns a function (see callable.ts).
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export interface Magi1VideoToVideoPipeline {
  /** Runs a request: `const { frames } = await pipe({ prompt, video })`. */
  <R extends VideoToVideoRequest>(request: R): Promise<GeneratedVideo<FramesOf<R>>>;
}

// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export class Magi1VideoToVideoPipeline extends Magi1Base<VideoToVideoRequest> {
  readonly #asOriginal: boolean;

  constructor(model: OpenedModel<VideoToVideoRequest>) {
    super(model);
    this.#asOriginal = model.parts.source.asOriginal;
  }

  /**
   * Opens a model folder: `config.json` in the original's format, relative paths counted from the folder. Everything
   * is checked, the memory need included, before weights are loaded.
   */
  static async fromPretrained(folder: string, options: VideoToVideoOptions = {}): Promise<Magi1VideoToVideoPipeline> {
    checkPipelineOptions(folder, options);
    const source = await locateModel(folder, options.environment);
    return new Magi1VideoToVideoPipeline(await openModel(source, VIDEO_TO_VIDEO, options));
  }

  /** Opens a config file of the original, whose relative paths count from the working directory, with its environment. */
  static async fromConfigFile(file: string, options: VideoToVideoOptions = {}): Promise<Magi1VideoToVideoPipeline> {
    checkPipelineOptions(file, options);
    const source = await locateByConfigFile(file, options.environment);
    return new Magi1VideoToVideoPipeline(await openModel(source, VIDEO_TO_VIDEO, options));
  }

  /**
   * The clip's frames [height, width, 3] up to the last one that is continued, as the run sees them and one by one: what
   * comes before the frames of the run where both are to be one video. `prepared`: the request as `prepare` gave it.
   */
  async *clipFrames(
    request: VideoToVideoRequest,
    prepared?: VideoToVideoRequest,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { settings, clip } = this.plan(prepared ?? (await this.prepare(request)));
    const { width, height, fps } = settings;
    const { scaler } = mediaDefaults(this.#asOriginal);
    let left = clip!.from === 'start' ? clip!.framesContinued : clip!.framesRead;
    const { video, fit, signal } = request;
    for await (const frame of videoFrames(video, {
      width,
      height,
      fps,
      fit,
      scaler: request.scaler ?? scaler,
      signal,
    })) {
      yield frame;
      if (--left === 0) return;
    }
  }
}
