// Copies bytes between buffers at offsets that are not multiples of four, which WebGPU's own copies refuse.
import type { WgslProgram } from './kernel.ts';

export const INVOCATIONS = 64;

/** One invocation per destination word; bytes of edge words outside the range keep their values. */
export const copyBytesProgram: WgslProgram = {
  name: 'copyBytes',
  bindings: () => [
    { name: 'source', type: 'array<u32>', access: 'read' },
    { name: 'target_words', type: 'array<u32>', access: 'read_write' },
  ],
  params: { sourceByte: 'u32', targetByte: 'u32', byteLength: 'u32' },
  source: () => /* wgsl */ `
@compute @workgroup_size(${INVOCATIONS})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let word = params.targetByte / 4u + (id.y * count.x + id.x) * ${INVOCATIONS}u + lane;
  if (word * 4u >= params.targetByte + params.byteLength) { return; }
  var value = target_words[word];
  for (var i = 0u; i < 4u; i++) {
    let position = word * 4u + i;
    if (position >= params.targetByte && position - params.targetByte < params.byteLength) {
      let from_byte = params.sourceByte + (position - params.targetByte);
      let byte = extractBits(source[from_byte / 4u], (from_byte % 4u) * 8u, 8u);
      value = insertBits(value, byte, i * 8u, 8u);
    }
  }
  target_words[word] = value;
}
`,
};
