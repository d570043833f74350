#!/usr/bin/env bash
# SwiftShader: a compute shader with 16 KiB of workgroup memory takes seconds of processor time before its first run.
#
# What: WebGPU says that workgroup memory starts as zeros. Where the driver has the Vulkan extension for this, Dawn
# gives the variable a null initialiser, and SwiftShader compiles that element by element. With Dawn's toggle
# use_vulkan_zero_initialize_workgroup_memory_extension turned off, Dawn zeroes by a loop in the shader: the same zeros
# in about a hundredth of the time.
#
# Why it matters: tiled matrix products and attention use 8 to 32 KiB of workgroup memory, so on the software adapter
# that headless Chromium and many CI machines have, first calls seem to hang, and the time looks like a slow kernel.
#
# Source: WGSL, section on the workgroup address space (zero values); VK_KHR_zero_initialize_workgroup_memory; Dawn's
# list of toggles.
#
# Needs node, npm and SwiftShader (Debian: chromium). Exits 1 if the behaviour changes, 2 if SwiftShader is not there.
set -euo pipefail

command -v node >/dev/null && command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

for file in {/usr/lib/chromium,/usr/lib/chromium-browser,/usr/lib64/chromium,/opt/google/chrome}/vk_swiftshader_icd.json; do
  if [ -e "$file" ]; then export VK_DRIVER_FILES=$file; break; fi
done
[ -n "${VK_DRIVER_FILES:-}" ] || { echo 'needs SwiftShader'; exit 2; }

npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --prefix . webgpu@0.6.2 >/dev/null
echo "node $(node --version), webgpu $(node -p "require('./node_modules/webgpu/package.json').version") (Dawn)"

cat >try.mjs <<'JS'
import { create, globals } from 'webgpu';
Object.assign(globalThis, globals);
const TOGGLE = 'use_vulkan_zero_initialize_workgroup_memory_extension';
const gpu = create(['adapter=SwiftShader', ...(process.argv[2] === 'loop' ? [`disable-dawn-features=${TOGGLE}`] : [])]);
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice();
const ELEMENTS = 4096;
// Adds 1, so that an output that was never written is no zero; then dirties the memory for the next workgroup.
const code = `
var<workgroup> memory: array<f32, ${ELEMENTS}>;
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  for (var i = lane; i < ${ELEMENTS}u; i += 64u) {
    result[group.x * ${ELEMENTS}u + i] = memory[i] + 1.0;
    memory[i] = 7.0;
  }
}`;
const GROUPS = 8;
const size = 4 * ELEMENTS * GROUPS;
const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
const result = device.createBuffer({ size, usage: STORAGE | COPY_SRC });
const read = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
const before = process.cpuUsage();
const module = device.createShaderModule({ code });
const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
const entries = [{ binding: 0, resource: { buffer: result } }];
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
pass.dispatchWorkgroups(GROUPS);
pass.end();
encoder.copyBufferToBuffer(result, 0, read, 0, size);
device.queue.submit([encoder.finish()]);
await read.mapAsync(GPUMapMode.READ);
const { user, system } = process.cpuUsage(before);
const zeros = new Float32Array(read.getMappedRange()).every((value) => value === 1);
console.log(`${((user + system) / 1000).toFixed(0)} ${zeros} ${adapter.info.description}`);
process.exit(0); // Dawn's threads would keep the process
JS

mkdir -m 700 run
export XDG_RUNTIME_DIR="$folder/run"
read -r extension_ms extension_zeros adapter < <(node try.mjs extension 2>errors.txt) || { cat errors.txt; exit 1; }
read -r loop_ms loop_zeros adapter < <(node try.mjs loop 2>errors.txt) || { cat errors.txt; exit 1; }
echo "$adapter: first compile and run of a shader with 16 KiB of workgroup memory"
echo "  zeroed by the extension (Dawn's default): $extension_ms ms of processor time, all zeros: $extension_zeros"
echo "  zeroed by a loop (toggle off):            $loop_ms ms of processor time, all zeros: $loop_zeros"
echo 'Expected: zeros both ways, at a like cost. Seen when written: zeros both ways, about 3000 against 20 ms.'
if [ "$extension_zeros $loop_zeros" = 'true true' ] && [ "$extension_ms" -gt $((3 * loop_ms)) ]; then
  echo 'As found: more than 3 times the processor time.'
else
  echo 'Changed.'
  exit 1
fi
