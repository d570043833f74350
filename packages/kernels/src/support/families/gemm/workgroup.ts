// Gemm for GPUs, and for software adapters without subgroups of 4 or 8: a workgroup of 16 x 16 invocations makes a tile of the output from tiles of a and b in
// workgroup memory. Both are kept as [depth / 4][row] of vec4 along the depth, so neighbours read neighbouring vectors.
import { isBlocks } from '@magi1/tensor';
import type { DType, WgslProgram } from '@magi1/tensor';
import { decodeFour, decodeOne, decodeVector } from '../../wgsl/decode.ts';
import { WORKGROUP_INDEX } from '../../wgsl/dispatch.ts';
import { range } from '../../wgsl/range.ts';
import type { BLayout } from './call.ts';
import { GEMM_PARAMS, TILE_OF } from './wgsl.ts';

export interface TileGemmVariant {
  readonly layout: BLayout;
  readonly dtype: DType;
  readonly bias: boolean;
  /** Four values per load; needs a depth divisible by 4. */
  readonly wide: boolean;
  /** Rows and columns of the output that one invocation makes. */
  readonly rowsEach: number;
  readonly columnsEach: number;
  readonly [name: string]: string | number | boolean;
}

export const SIDE = 16;
const INVOCATIONS = SIDE * SIDE;
/** Vectors along the depth in one tile: 128 rows + 128 columns of 4 vectors fill 16 KiB. */
export const DEPTH_VECTORS = 4;

export const tileGemm: WgslProgram<TileGemmVariant> = {
  name: 'gemmTile',
  bindings: ({ layout, dtype, bias, wide }) => [
    { name: 'a', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'b', type: `array<${bLoader(layout, dtype, wide).type}>`, access: 'read' },
    ...(bias ? [{ name: 'bias', type: 'array<f32>', access: 'read' } as const] : []),
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  // Ends of loops are parameters: compilers unroll what has a constant end, even `min(constant, ...)`, which takes seconds.
  params: { ...GEMM_PARAMS, depth_tile: 'u32' },
  source: ({ layout, dtype, bias, wide, rowsEach, columnsEach }) => {
    const tileRows = SIDE * rowsEach;
    const tileColumns = SIDE * columnsEach;
    const rows = range(rowsEach);
    const columns = range(columnsEach);
    const sums = rows.flatMap((row) => columns.map((column) => ({ row, column })));
    return /* wgsl */ `
${WORKGROUP_INDEX}
${TILE_OF}
const ROWS = ${tileRows}u;
const COLUMNS = ${tileColumns}u;
const DEPTH = ${DEPTH_VECTORS}u;
var<workgroup> a_tile: array<vec4f, ${DEPTH_VECTORS * tileRows}>;
var<workgroup> b_tile: array<vec4f, ${DEPTH_VECTORS * tileColumns}>;

${wide ? A_WIDE : A_NARROW}
${bLoader(layout, dtype, wide).code}

@compute @workgroup_size(${SIDE}, ${SIDE})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) place: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row_tiles = (params.rows + ROWS - 1u) / ROWS;
  let column_tiles = (params.columns + COLUMNS - 1u) / COLUMNS;
  let index = workgroup_index(id, count);
  if (index >= row_tiles * column_tiles) { return; }
  let tile = tile_of(index, row_tiles, column_tiles);
  let row0 = tile.x * ROWS;
  let column0 = tile.y * COLUMNS;
  ${rows.map((r) => columns.map((c) => `var c${r}_${c} = 0.0;`).join(' ')).join('\n  ')}
  for (var first = 0u; first < params.depth; first += 4u * DEPTH) {
    for (var i = lane; i < ROWS * DEPTH; i += ${INVOCATIONS}u) {
      a_tile[(i % DEPTH) * ROWS + i / DEPTH] = load_a(row0 + i / DEPTH, first + 4u * (i % DEPTH));
    }
    for (var i = lane; i < COLUMNS * DEPTH; i += ${INVOCATIONS}u) {
      ${
        layout === 'rows'
          ? 'b_tile[(i % DEPTH) * COLUMNS + i / DEPTH] = load_b(column0 + i / DEPTH, first + 4u * (i % DEPTH));'
          : 'b_tile[i] = load_b(column0 + i % COLUMNS, first + 4u * (i / COLUMNS));'
      }
    }
    workgroupBarrier();
    let end = min(params.depth_tile, (params.depth - first + 3u) / 4u);
    for (var d = 0u; d < end; d++) {
      ${rows.map((r) => `let a${r} = a_tile[d * ROWS + ${SIDE * r}u + place.y];`).join('\n      ')}
      ${columns
        .map((c) => {
          const adds = rows.map((r) => `c${r}_${c} += dot(a${r}, b);`).join(' ');
          return `{ let b = b_tile[d * COLUMNS + ${SIDE * c}u + place.x]; ${adds} }`;
        })
        .join('\n      ')}
    }
    workgroupBarrier();
  }
  var total: array<f32, ${rowsEach * columnsEach}>;
  ${sums.map(({ row, column }, i) => `total[${i}] = c${row}_${column};`).join(' ')}
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = ${columnsEach}u * ((min(params.rows - row0, ROWS) + ${SIDE - 1}u) / ${SIDE}u);
  for (var i = 0u; i < end; i++) {
    let row = row0 + ${SIDE}u * (i / ${columnsEach}u) + place.y;
    let column = column0 + ${SIDE}u * (i % ${columnsEach}u) + place.x;
    if (row < params.rows && column < params.columns) {
      let at = params.first_column + column;
      y[row * params.stride + at] = total[i]${bias ? ' + bias[at]' : ''};
    }
  }
}
`;
  },
};

// load_a and load_b give four values along the depth; what lies outside the matrix is 0.
const A_WIDE = /* wgsl */ `
fn load_a(row: u32, depth: u32) -> vec4f {
  if (row >= params.rows || depth >= params.depth) { return vec4f(); }
  return a[(row * params.depth + depth) / 4u];
}
`;

const A_NARROW = /* wgsl */ `
fn load_a(row: u32, depth: u32) -> vec4f {
  var v = vec4f();
  if (row >= params.rows) { return v; }
  for (var i = 0u; i < 4u && depth + i < params.depth; i++) { v[i] = a[row * params.depth + depth + i]; }
  return v;
}
`;

const B_ROWS_WIDE = /* wgsl */ `
fn load_b(column: u32, depth: u32) -> vec4f {
  if (column >= params.columns || depth >= params.depth) { return vec4f(); }
  return decode4(b[(column * params.depth + depth) / 4u]);
}
`;

const B_ROWS_BLOCKS = /* wgsl */ `
fn load_b(column: u32, depth: u32) -> vec4f {
  if (column >= params.columns || depth >= params.depth) { return vec4f(); }
  return decode_vector((column * params.depth + depth) / 4u);
}
`;

const B_ROWS_NARROW = /* wgsl */ `
fn load_b(column: u32, depth: u32) -> vec4f {
  var v = vec4f();
  if (column >= params.columns) { return v; }
  for (var i = 0u; i < 4u && depth + i < params.depth; i++) { v[i] = decode_at(column * params.depth + depth + i); }
  return v;
}
`;

const B_COLUMNS = /* wgsl */ `
fn load_b(column: u32, depth: u32) -> vec4f {
  var v = vec4f();
  if (column >= params.columns) { return v; }
  for (var i = 0u; i < 4u && depth + i < params.depth; i++) { v[i] = b[(depth + i) * params.columns + column]; }
  return v;
}
`;

function bLoader(layout: BLayout, dtype: DType, wide: boolean): { type: string; code: string } {
  if (layout === 'columns') return { type: 'f32', code: B_COLUMNS };
  if (isBlocks(dtype)) return { type: 'u32', code: decodeVector(dtype, 'b') + B_ROWS_BLOCKS };
  const decoder = wide ? decodeFour(dtype) : decodeOne(dtype, 'b');
  return { type: decoder.type, code: decoder.code + (wide ? B_ROWS_WIDE : B_ROWS_NARROW) };
}
