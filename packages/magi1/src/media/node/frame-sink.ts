// What encodes frames and puts them on the disk, whatever the format. A writer (video-writer.ts) drives it.

export interface FrameSink {
  /** Aborts, with the reason, when it ends by itself. */
  readonly failed: AbortSignal;
  /** Takes one frame [height, width, 3]; resolves when it can take another. */
  add(frame: Uint8Array): Promise<void>;
  /** Puts what it was given on the disk as far as it can before more comes; gives the frames that can be played. */
  settle(): Promise<number>;
  /** Completes the output, looks at it, and gives the number of its frames. */
  finish(): Promise<number>;
  /** The run is given up: an encoder that hangs is not waited for as long as before. */
  hurry?(): void;
  /** Ends early, also after an error; gives the frames that can be played. Rejects only where that is unknown. */
  stop(): Promise<number>;
}
