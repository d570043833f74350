// The part of cli-progress that is used; the package has no types of its own.
declare module 'cli-progress' {
  export interface Options {
    readonly format: string;
    readonly hideCursor?: boolean;
    readonly clearOnComplete?: boolean;
    readonly stream?: NodeJS.WritableStream;
    readonly fps?: number;
    readonly autopadding?: boolean;
  }
  export class SingleBar {
    update(value: number, payload?: object): void;
  }
  export class MultiBar {
    constructor(options: Options, preset?: object);
    create(total: number, startValue: number, payload?: object): SingleBar;
    /** Prints above the bars; the text must end with a line break. */
    log(text: string): void;
    stop(): void;
  }
  export const Presets: { readonly shades_classic: object };
  const all: { readonly MultiBar: typeof MultiBar; readonly Presets: typeof Presets };
  export default all;
}
