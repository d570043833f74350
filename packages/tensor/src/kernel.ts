// What the kernels of every backend are built from and given.

/** Chooses a kernel's text or bytes: dtypes, vector widths, switches; never sizes, which are parameters. */
export type Variant = Readonly<Record<string, string | number | boolean>>;

/** A small table made on the host for one call (block lists, ranges). */
export type HostTable = Uint32Array | Int32Array | Float32Array;
