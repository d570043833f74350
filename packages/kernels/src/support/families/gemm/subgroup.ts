// Gemm for adapters without fast workgroup memory (software adapters): one subgroup per workgroup, no barriers. Every lane
// owns four columns of b and all rows of the tile; rows of a are loaded once per subgroup and broadcast.
import { isBlocks } from '@magi1/tensor';
import type { DType, WgslProgram } from '@magi1/tensor';
import { decodeFour, decodeOne, decodeVector } from '../../wgsl/decode.ts';
import { WORKGROUP_INDEX } from '../../wgsl/dispatch.ts';
import { range } from '../../wgsl/range.ts';
import type { BLayout } from './call.ts';
import { GEMM_PARAMS, TILE_OF } from './wgsl.ts';

export interface SubgroupGemmVariant {
  readonly layout: BLayout;
  readonly dtype: DType;
  readonly bias: boolean;
  /** Four values per load; needs depth (and columns, when b is laid out by columns) divisible by 4, as of q8 and q4. */
  readonly wide: boolean;
  /** Rows of a tile, a multiple of `lanes`. */
  readonly tileRows: number;
  readonly lanes: number;
  readonly [name: string]: string | number | boolean;
}

export const COLUMNS_PER_LANE = 4;

/** Products summed before they are added to the running total: keeps rounding errors of long sums small. */
const SUM_LENGTH = 256;

export const subgroupGemm: WgslProgram<SubgroupGemmVariant> = {
  name: 'gemmSubgroup',
  enables: () => ['subgroups'],
  bindings: ({ layout, dtype, bias, wide }) => [
    { name: 'a', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'b', type: `array<${bDecoder(layout, dtype, wide).type}>`, access: 'read' },
    ...(bias ? [{ name: 'bias', type: 'array<f32>', access: 'read' } as const] : []),
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: GEMM_PARAMS,
  source: (variant) => {
    const { layout, dtype, bias, wide, tileRows, lanes } = variant;
    const parts = wide ? ['.x', '.y', '.z', '.w'] : [''];
    const loads = range(tileRows / lanes);
    const columns = range(COLUMNS_PER_LANE);
    const sums = range(tileRows).flatMap((row) => columns.map((column) => ({ row, column })));
    const sumName = ({ row, column }: { row: number; column: number }) => `c${row}_${column}`;
    const multiply = (row: number) => {
      const from = `let v = subgroupBroadcast(a${Math.floor(row / lanes)}, ${row % lanes}u);`;
      const adds = columns.map((column) => {
        const sum = sumName({ row, column });
        return `${sum} = ${parts.reduce((inner, part, k) => `fma(v${part}, ${bValue(variant, column, k)}, ${inner})`, sum)};`;
      });
      return `{ ${from} ${adds.join(' ')} }`;
    };
    return /* wgsl */ `
${WORKGROUP_INDEX}
${TILE_OF}
${bDecoder(layout, dtype, wide).code}
const COLUMNS = ${COLUMNS_PER_LANE * lanes}u;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row_tiles = (params.rows + ${tileRows - 1}u) / ${tileRows}u;
  let column_tiles = (params.columns + COLUMNS - 1u) / COLUMNS;
  let index = workgroup_index(id, count);
  if (index >= row_tiles * column_tiles) { return; }
  let tile = tile_of(index, row_tiles, column_tiles);
  let row0 = tile.x * ${tileRows}u;
  let column0 = tile.y * COLUMNS;
  let steps = params.depth / ${parts.length}u;
  // Rows and columns past the end repeat the last one and are not stored.
  ${loads.map((i) => `let a_start${i} = min(row0 + ${i * lanes}u + lane, params.rows - 1u) * steps;`).join('\n  ')}
  ${bStarts(variant)}
  var total: array<f32, ${sums.length}>;
  for (var first = 0u; first < steps; first += ${SUM_LENGTH / parts.length}u) {
    ${sums.map((sum) => `var ${sumName(sum)} = 0.0;`).join(' ')}
    let end = min(first + ${SUM_LENGTH / parts.length}u, steps);
    for (var k = first; k < end; k++) {
      ${bLoads(variant)}
      ${loads.map((i) => `let a${i} = a[a_start${i} + k];`).join(' ')}
      ${range(tileRows).map(multiply).join('\n      ')}
    }
    ${sums.map((sum, i) => `total[${i}] += ${sumName(sum)};`).join(' ')}
  }
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = ${COLUMNS_PER_LANE}u * min(params.rows - row0, ${tileRows}u);
  for (var i = 0u; i < end; i++) {
    let row = row0 + i / ${COLUMNS_PER_LANE}u;
    let column = column0 + ${laneColumn(variant, `(i % ${COLUMNS_PER_LANE}u)`)};
    if (column < params.columns) {
      let at = params.first_column + column;
      y[row * params.stride + at] = total[i]${bias ? ' + bias[at]' : ''};
    }
  }
}
`;
  },
};

/** The column of a lane's `part`, counted from the tile's first. */
function laneColumn({ layout, wide, lanes }: SubgroupGemmVariant, part: string | number): string {
  return layout === 'columns' && wide ? `${COLUMNS_PER_LANE}u * lane + ${part}` : `lane + ${lanes}u * ${part}`;
}

function bDecoder(layout: BLayout, dtype: DType, wide: boolean): { type: string; code: string } {
  if (layout === 'columns') return { type: wide ? 'vec4f' : 'f32', code: '' };
  if (isBlocks(dtype)) return { type: 'u32', code: decodeVector(dtype, 'b') };
  return wide ? decodeFour(dtype) : decodeOne(dtype, 'b');
}

function bStarts(variant: SubgroupGemmVariant): string {
  const { layout, wide } = variant;
  if (layout === 'columns' && wide) return 'let b_start = min(column0 / 4u + lane, params.columns / 4u - 1u);';
  const scale = layout === 'rows' ? ' * steps' : '';
  return range(COLUMNS_PER_LANE)
    .map((j) => `let b_start${j} = min(column0 + ${laneColumn(variant, `${j}u`)}, params.columns - 1u)${scale};`)
    .join('\n  ');
}

function bLoads({ layout, dtype, wide }: SubgroupGemmVariant): string {
  const four = range(COLUMNS_PER_LANE);
  if (isBlocks(dtype)) return four.map((j) => `let b${j} = decode_vector(b_start${j} + k);`).join(' ');
  if (layout === 'rows') {
    return four
      .map((j) => `let b${j} = ${wide ? `decode4(b[b_start${j} + k])` : `decode_at(b_start${j} + k)`};`)
      .join(' ');
  }
  if (wide) return four.map((j) => `let b${j} = b[(4u * k + ${j}u) * (params.columns / 4u) + b_start];`).join(' ');
  return four.map((j) => `let b${j} = b[k * params.columns + b_start${j}];`).join(' ');
}

/** b's value for a lane's column at step k of the loads above. */
function bValue({ layout, wide }: SubgroupGemmVariant, column: number, k: number): string {
  const parts = ['.x', '.y', '.z', '.w'];
  if (!wide) return `b${column}`;
  return layout === 'rows' ? `b${column}${parts[k]!}` : `b${k}${parts[column]!}`;
}
