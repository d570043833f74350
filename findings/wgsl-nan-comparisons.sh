#!/usr/bin/env bash
# WGSL through Dawn on Vulkan: a NaN that comes from a buffer is neither equal to itself nor different from itself.
#
# What: for such an x, `x != x` and `x == x` are both false, while `!(x == x)` is true. Dawn writes `!=` into SPIR-V as
# OpFOrdNotEqual, the ordered comparison, which is false for NaN; IEEE 754 and every CPU language have the unordered
# one. min, max and clamp give the number. `x * 0.0` is 0 for NaN and infinity, while a 0 that comes from a buffer gives
# NaN. `(a + C) - C` with a literal C gives a, unrounded: Dawn writes both operations, the drivers drop them; lavapipe
# does so even where C comes from a buffer.
#
# Why it matters: a kernel that ports `x != x` as its test for NaN never finds one; softmax, clamping and activations
# turn a NaN into a plausible number; rounding by adding and subtracting a large constant, and compensated sums, do
# nothing. Tests of bits (`bitcast<u32>(x) & 0x7fffffff` over 0x7f800000) work everywhere.
#
# Source: WGSL, section "Differences from IEEE-754", lets an implementation assume that there are no NaNs or infinities
# and lets it reassociate, so all of this is allowed; WGSL defines min and max by the number, while torch hands NaN on.
#
# Needs node, npm and a Vulkan driver: Mesa's lavapipe (Debian: mesa-vulkan-drivers), SwiftShader (Debian: chromium).
# Exits 1 if the behaviour changes, 2 if nothing is there to try it on.
set -euo pipefail

command -v node >/dev/null && command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

first() { for file in "$@"; do if [ -e "$file" ]; then echo "$file"; return; fi; done; }
lavapipe=$(first /etc/vulkan/icd.d/lvp_icd*.json /usr/local/share/vulkan/icd.d/lvp_icd*.json /usr/share/vulkan/icd.d/lvp_icd*.json)
swiftshader=$(first {/usr/lib/chromium,/usr/lib/chromium-browser,/usr/lib64/chromium,/opt/google/chrome}/vk_swiftshader_icd.json)
[ -n "$lavapipe$swiftshader" ] || { echo 'needs lavapipe or SwiftShader'; exit 2; }

npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --prefix . webgpu@0.6.2 >/dev/null
echo "node $(node --version), webgpu $(node -p "require('./node_modules/webgpu/package.json').version") (Dawn)"

cat >try.mjs <<'JS'
import { create, globals } from 'webgpu';
Object.assign(globalThis, globals);
const name = process.argv[2];
const gpu = create([`adapter=${name}`, 'enable-dawn-features=dump_shaders']);
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice();
const lavapipe = name === 'llvmpipe';
const values = { x: NaN, one: 1, two: 2, quarter: 0.25, large: 1.5 * 2 ** 23, zero: 0, infinity: Infinity };
const number = (condition) => `select(0.0, 1.0, ${condition})`;
// expression, its WGSL, the value that torch has in float32, the value seen
const cases = [
  ['x != x', number('x != x'), 1, 0],
  ['x == x', number('x == x'), 0, 0],
  ['!(x == x)', number('!(x == x)'), 1, 1],
  ['!(x != x)', number('!(x != x)'), 0, 1],
  ['x != one', number('x != one'), 1, 0],
  ['!(x < one)', number('!(x < one)'), 1, 1],
  ['bits of x are NaN', number('(bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u'), 1, 1],
  ['min(x, one)', 'min(x, one)', NaN, 1],
  ['max(one, x)', 'max(one, x)', NaN, 1],
  ['clamp(x, one, two)', 'clamp(x, one, two)', NaN, 1],
  ['x * 0.0', 'x * 0.0', NaN, 0],
  ['x * zero', 'x * zero', NaN, NaN],
  ['infinity * 0.0', 'infinity * 0.0', NaN, 0],
  ['(quarter + 12582912.0) - 12582912.0', '(quarter + 12582912.0) - 12582912.0', 0, 0.25],
  ['(quarter + large) - large', '(quarter + large) - large', 0, lavapipe ? 0.25 : 0],
];
const names = Object.keys(values);
const code = `
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(1) fn main() {
  ${names.map((value, i) => `let ${value} = given[${i}];`).join('\n  ')}
  ${cases.map(([, wgsl], i) => `result[${i}] = ${wgsl};`).join('\n  ')}
}`;
const module = device.createShaderModule({ code });
const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
const size = 4 * cases.length;
const given = device.createBuffer({ size: 4 * names.length, usage: STORAGE | COPY_DST });
device.queue.writeBuffer(given, 0, new Float32Array(Object.values(values)));
const result = device.createBuffer({ size, usage: STORAGE | COPY_SRC });
const read = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
const entries = [given, result].map((buffer, binding) => ({ binding, resource: { buffer } }));
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
pass.dispatchWorkgroups(1);
pass.end();
encoder.copyBufferToBuffer(result, 0, read, 0, size);
device.queue.submit([encoder.finish()]);
await read.mapAsync(GPUMapMode.READ);
const got = new Float32Array(read.getMappedRange());
let changed = false;
const lines = cases.map(([text, , torch, seen], i) => {
  const same = Object.is(got[i], seen);
  changed ||= !same;
  return `  ${text.padEnd(36)} torch ${String(torch).padEnd(5)} seen ${got[i]}${same ? '' : ` CHANGED from ${seen}`}`;
});
(await import('node:fs')).writeFileSync('table.txt', [adapter.info.description, ...lines, ''].join('\n'));
process.exit(changed ? 1 : 0); // Dawn's threads would keep the process
JS

mkdir -m 700 run
export XDG_RUNTIME_DIR="$folder/run"
status=0
try() {
  rm -f table.txt
  VK_DRIVER_FILES=$2 node try.mjs "$1" >dump.txt 2>&1 || status=1
  if [ ! -e table.txt ]; then tail -n 5 dump.txt; return; fi
  cat table.txt
  local ordered unordered
  ordered=$(grep -c OpFOrdNotEqual dump.txt || true)
  unordered=$(grep -c OpFUnordNotEqual dump.txt || true)
  echo "  != in SPIR-V: OpFOrdNotEqual $ordered times, OpFUnordNotEqual $unordered times (expected 3 and 0)"
  [ "$ordered $unordered" = '3 0' ] || status=1
}
[ -z "$lavapipe" ] || try llvmpipe "$lavapipe"
[ -z "$swiftshader" ] || try SwiftShader "$swiftshader"
[ "$status" = 0 ] && echo 'As found.' || echo 'Changed.'
exit "$status"
