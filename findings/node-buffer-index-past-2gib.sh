#!/usr/bin/env bash
# Node: Buffer.indexOf of something beyond 2 GiB gives a negative number, beyond 4 GiB the index of another place.
#
# What: the position found is cut to a signed 32-bit integer. In a Buffer of 3.5 GiB with one byte 3 at 3 GiB + 100,
# includes(3) is true and indexOf(3) is -1073741724; so the usual `indexOf(x) >= 0` and `=== -1` both take the wrong
# branch. In one of 6 GiB, a byte at 5 GiB + 100 is said to be at 1 GiB + 100. indexOf of a Buffer or string and
# lastIndexOf do the same; Uint8Array's own indexOf, called on the same Buffer, is right. No error, no warning; the
# documentation names no limit below buffer.constants.MAX_LENGTH. Seen with Node 20.20 (up to its 4 GiB), 22.23, 24.21
# and 26.10.
#
# Why it matters: files of weights are that large, and looking for a magic number, a zip's end record or a separator in
# one that was read whole or mapped finds it in the wrong place. (Buffer.copy from beyond 4 GiB copied other bytes in
# Node 22 and 24, which is known and mended in 26; this is not.)
#
# Source: https://nodejs.org/api/buffer.html#bufindexofvalue-byteoffset-encoding and the behaviour.
#
# Needs npm and 64-bit Linux; the buffers are hardly touched, so little memory is taken. Exits 1 if the behaviour changes.
set -euo pipefail

command -v npm >/dev/null || { echo 'needs npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >try.mjs <<'JS'
const GiB = 2 ** 30;
const changed = [];
for (const [size, at] of [
  [3.5 * GiB, 3 * GiB + 100],
  [6 * GiB, 5 * GiB + 100],
]) {
  const buffer = Buffer.from(new ArrayBuffer(size));
  buffer.set([3, 4], at);
  const found = {
    'includes(3)': buffer.includes(3),
    'Uint8Array indexOf(3)': Uint8Array.prototype.indexOf.call(buffer, 3),
    'indexOf(3)': buffer.indexOf(3),
    'indexOf(Buffer)': buffer.indexOf(Buffer.from([3, 4])),
    'lastIndexOf(3)': buffer.lastIndexOf(3),
  };
  console.log(`Node ${process.version}, ${size / GiB} GiB; expected everywhere: ${at}`);
  for (const [call, result] of Object.entries(found)) console.log(`  ${call.padEnd(22)} ${result}`);
  const right = found['includes(3)'] && found['Uint8Array indexOf(3)'] === at;
  const cut = ['indexOf(3)', 'indexOf(Buffer)', 'lastIndexOf(3)'].every((call) => found[call] === (at | 0));
  if (!(right && cut)) changed.push(size);
}
process.exitCode = changed.length > 0 ? 1 : 0;
JS

status=0
for version in 24.21.0 26.10.0; do
  npm install --silent --no-save --prefix "$version" "node@$version" >/dev/null
  "$version/node_modules/node/bin/node" try.mjs || status=1
done
[ $status = 0 ] && echo 'As found.' || echo 'Changed.'
exit $status
