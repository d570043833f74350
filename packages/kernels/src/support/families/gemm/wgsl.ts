// What both WGSL gemm programs share: which tile of the output a workgroup makes, and parameters.

/** Row tiles that are walked together before the next column tile: their operands stay in the cache. */
const GROUP = 16;

/** `tile_of(index)`: (row tile, column tile); rows fastest within groups of row tiles. */
export const TILE_OF = /* wgsl */ `
fn tile_of(index: u32, row_tiles: u32, column_tiles: u32) -> vec2u {
  let group = index / (${GROUP}u * column_tiles);
  let within = index % (${GROUP}u * column_tiles);
  let rows = min(row_tiles - group * ${GROUP}u, ${GROUP}u);
  return vec2u(group * ${GROUP}u + within % rows, within / rows);
}
`;

/** Parameters of a gemm dispatch: y[row, first_column + column] of `rows` x `columns`, sums of `depth` products. */
export const GEMM_PARAMS = {
  rows: 'u32',
  columns: 'u32',
  depth: 'u32',
  first_column: 'u32',
  stride: 'u32',
} as const;
