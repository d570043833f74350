#!/usr/bin/env bash
# Dawn for Node: how much memory a GPU has cannot be asked, although the library knows it.
#
# What: Dawn has a feature that tells an adapter's memory heaps, and in Chromium, with developer features on,
# `adapter.info.memoryHeaps` lists their sizes. The npm package `webgpu` is the same library and its binary names the
# feature, but its JavaScript side has no name for it: `features` does not list it, requesting it by either name is
# refused as no feature at all, even with unsafe interfaces allowed, and `adapter.info` has no such field.
#
# Why it matters: a program that plans its memory, such as a model that must choose what stays loaded, knows the
# largest buffer (often 4 GiB on a card of 24) and nothing about the total. In Node it can only take a budget from the
# user or fail in the middle.
#
# Source: Dawn's list of features (adapter properties memory heaps); Chrome's release notes on `memoryHeaps`.
#
# Needs node, npm and a Vulkan driver that Dawn takes. Exits 1 if the behaviour changes, 2 if there is no adapter.
set -euo pipefail

command -v node >/dev/null && command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --prefix . webgpu@0.6.2 >/dev/null
echo "node $(node --version), webgpu $(node -p "require('./node_modules/webgpu/package.json').version") (Dawn)"

cat >ask.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { create, globals } from 'webgpu';
Object.assign(globalThis, globals);
const gpu = create(['enable-dawn-features=allow_unsafe_apis']);
const adapter = await gpu.requestAdapter();
if (adapter === null) process.exit(2);
const binary = readFileSync(`node_modules/webgpu/dist/${process.platform}-${process.arch}/dawn.node`);
const seen = { 'the binary names it': binary.includes('AdapterPropertiesMemoryHeaps') };
seen['info.memoryHeaps is there'] = 'memoryHeaps' in adapter.info;
for (const name of ['adapter-properties-memory-heaps', 'chromium-experimental-adapter-properties-memory-heaps']) {
  const refusal = await adapter.requestDevice({ requiredFeatures: [name] }).then(() => 'granted', String);
  seen[name] = /not a valid enum value/.test(refusal) ? 'no such feature' : refusal.split('\n')[0];
}
console.log('Expected: a field or a feature that tells the heaps.');
for (const [what, value] of Object.entries(seen)) console.log(`  ${what}: ${value}`);
const found = { 'the binary names it': true, 'info.memoryHeaps is there': false };
for (const name of Object.keys(seen).slice(2)) found[name] = 'no such feature';
const same = JSON.stringify(seen) === JSON.stringify(found);
console.log(same ? 'As found.' : 'Changed.');
process.exit(same ? 0 : 1);
JS
node ask.mjs 2>/dev/null
