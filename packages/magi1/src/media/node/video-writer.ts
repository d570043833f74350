// A writer: an output and what fills it. However it ends, one of three things is there: the whole output under its name,
// the finished part under a name that says so, or nothing.
import { Magi1Error } from '@magi1/tensor';
import type { EndedEarly, VideoFile, VideoOptions, VideoWriter } from '../types.ts';
import type { FrameSink } from './frame-sink.ts';
import { splitFrames } from './frames.ts';
import { reasonOf } from './move.ts';
import type { Output } from './output.ts';

/** For messages: `; 48 frames are kept as clip.partial.mp4`. */
const whatIsKept = (kept: VideoFile | undefined): string =>
  kept === undefined ? 'nothing is kept' : `${kept.frames} frames are kept as ${kept.path}`;

export function videoWriter(output: Output, sink: FrameSink, encoder: string, options: VideoOptions): VideoWriter {
  const { what, path } = output;
  const { width, height, signal } = options;
  let busy: Promise<unknown> = Promise.resolve();
  let closing: Promise<VideoFile | undefined> | undefined;

  const keep = async (why: EndedEarly): Promise<VideoFile | undefined> => {
    sink.hurry?.();
    await busy.catch(() => undefined); // write() has thrown it
    const frames = await sink.stop();
    const kept = output.keep(why, frames);
    return kept === undefined ? undefined : { path: kept, frames };
  };
  const failure = async (error: unknown): Promise<Error> => {
    const kept = await (closing ??= keep('failed'));
    return new Magi1Error(`${what}: ${reasonOf(error)}; ${whatIsKept(kept)}`, { cause: error });
  };
  const failed = new AbortController();
  sink.failed.addEventListener('abort', () =>
    failed.abort(new Magi1Error(`${what}: ${reasonOf(sink.failed.reason)}`, { cause: sink.failed.reason })),
  );
  const onSignal = (): void => {
    closing ??= keep('cancelled');
    closing.catch(() => undefined); // whoever calls abort() gets the error
  };
  signal?.addEventListener('abort', onSignal, { once: true });
  const closed = (): Promise<VideoFile | undefined> => {
    signal?.removeEventListener('abort', onSignal);
    return closing!;
  };

  const writeFrames = async (frames: readonly Uint8Array[]): Promise<void> => {
    for (const frame of frames) {
      signal?.throwIfAborted();
      await sink.add(frame);
    }
    output.written(await sink.settle());
  };

  const complete = async (facts: object | undefined): Promise<VideoFile> => {
    output.giveSpareBack();
    const frames = await sink.finish();
    if (frames === 0) throw new Magi1Error('no frame was written');
    output.written(frames);
    output.publish(facts);
    return { path, frames };
  };

  return {
    path,
    encoder,
    failed: failed.signal,
    async write(chunk, count) {
      const frames = splitFrames(what, chunk, count, width, height);
      signal?.throwIfAborted();
      if (closing !== undefined) throw new Magi1Error(`${what}: closed already`);
      busy = writeFrames(frames);
      try {
        await busy;
      } catch (error) {
        signal?.throwIfAborted();
        throw await failure(error);
      }
      signal?.throwIfAborted();
    },
    async finish(facts) {
      signal?.throwIfAborted();
      if (closing !== undefined) throw new Magi1Error(`${what}: closed already`);
      const completing = complete(facts);
      closing = completing;
      try {
        return await completing;
      } catch (error) {
        closing = keep('failed');
        throw await failure(error);
      } finally {
        signal?.removeEventListener('abort', onSignal);
      }
    },
    abort(why = signal?.aborted === true ? 'cancelled' : 'failed') {
      closing ??= keep(why);
      return closed();
    },
  };
}
