// What the kernels of every backend are built from and given.

/** Chooses a kernel's text or bytes: dtypes, vector widths, switches; never sizes, which are parameters. */
export type Variant = Readonly<Record<string, string | number | boolean>>;

/** A key for caches: the variant's names come in the order given, as sorting them for every call takes long. */
export function variantKey(name: string, variant: Variant): string {
  let key = name;
  for (const part in variant) key += `,${part}=${variant[part]!}`;
  return key;
}

/** A small table made on the host for one call (block lists, ranges). */
export type HostTable = Uint32Array | Int32Array | Float32Array;
