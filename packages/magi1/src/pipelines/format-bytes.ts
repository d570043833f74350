// Bytes as people read them.

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

function inUnit(bytes: number): { readonly value: number; readonly unit: string } {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return { value, unit: value === 1 && unit === 0 ? 'byte' : UNITS[unit]! };
}

/** `1.58 GiB`, `12.4 MiB`, `800 bytes`. */
export function formatBytes(bytes: number): string {
  const { value, unit } = inUnit(bytes);
  if (unit.startsWith('byte')) return `${bytes} ${unit}`;
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
}

/** An amount that suffices for what is needed when it is given as it reads here: `15.11 MiB`. */
export function formatNeed(bytes: number): string {
  // One byte more, since amounts that are read are rounded down to whole bytes.
  const { value, unit } = inUnit(Math.ceil(bytes) + 1);
  return unit.startsWith('byte') ? `${value} ${unit}` : `${(Math.ceil(100 * value) / 100).toFixed(2)} ${unit}`;
}

/** What there is, which never reads as more than that: beside a larger need (`formatNeed`) it always reads as less. */
export function formatLimit(bytes: number): string {
  const { value, unit } = inUnit(Math.floor(bytes));
  return unit.startsWith('byte') ? `${value} ${unit}` : `${(Math.floor(100 * value) / 100).toFixed(2)} ${unit}`;
}
