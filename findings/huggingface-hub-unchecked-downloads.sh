#!/usr/bin/env bash
# @huggingface/hub: what comes is taken for the file, whatever it is.
#
# What: downloadFileToCacheDir knows a file's size and, for large files, its SHA-256, and gives the file its final name
# in the cache without comparing either. A server or proxy that answers the second request with a web page, with fewer
# bytes, or with other bytes leaves a wrong blob under the right hash, for good: the next call finds it and returns at
# once. Where the server says 503, the promise rejects with a string instead of an Error. A part that an earlier call has
# left as <hash>.incomplete is thrown away. And a slice of the Blob that downloadFile returns is the whole file where the
# server does not know ranges: 10 bytes asked for, 200,000 returned.
#
# Why it matters: the cache is shared with Python's huggingface_hub, which trusts what has its name there too; checkpoints
# have gigabytes, so cuts are the rule; whoever reads a header by slices gets bytes from another place.
#
# Source: the behaviour; the README says of the function that it caches a file of a repository.
#
# Needs node 20 or newer with npm. Exits 1 if the behaviour changes.
set -euo pipefail

command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --omit=optional @huggingface/hub@2.17.5

cat >try.mjs <<'JS'
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { downloadFile, downloadFileToCacheDir } from '@huggingface/hub';

const { version } = JSON.parse(readFileSync('node_modules/@huggingface/hub/package.json', 'utf8'));
console.log(`@huggingface/hub ${version}, node ${process.versions.node}`);
console.log('Expected: an error, or the file as it is in the repository.');
console.debug = () => {};

const content = Buffer.alloc(200_000, 'abc');
const sha256 = createHash('sha256').update(content).digest('hex');
const commit = '1'.repeat(40);
const answers = {
  'a web page': (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>'),
  'fewer bytes': (response) => response.writeHead(200, { 'content-length': 1000 }).end(content.subarray(0, 1000)),
  'other bytes': (response) => response.writeHead(200).end(Buffer.alloc(content.length, 'x')),
  503: (response) => response.writeHead(503).end('busy'),
  'the whole file': (response) => response.writeHead(200, { 'content-length': content.length }).end(content),
};
let answer;
const asked = [];
const server = createServer((request, response) => {
  const { range } = request.headers;
  if (request.url.includes('/paths-info/')) {
    const lfs = { oid: sha256, size: content.length, pointerSize: 134 };
    const info = { type: 'file', path: 'w.bin', size: content.length, oid: 'a'.repeat(40), lfs };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify([{ ...info, lastCommit: { id: commit, date: '', title: '' } }]));
  } else if (range === 'bytes=0-0') {
    response.writeHead(206, { 'content-range': `bytes 0-0/${content.length}`, etag: `"${sha256}"`, 'content-length': 1 });
    response.end('a');
  } else {
    asked.push(range ?? 'all of it');
    answers[answer](response);
  }
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const hubUrl = `http://127.0.0.1:${server.address().port}`;
const file = { repo: 'a/b', path: 'w.bin', hubUrl };
const found = [];

for (answer of ['a web page', 'fewer bytes', 'other bytes']) {
  const path = await downloadFileToCacheDir({ ...file, cacheDir: answer }).catch((error) => error);
  const bytes = typeof path === 'string' && existsSync(path) ? readFileSync(path) : undefined;
  const blob = existsSync(join(answer, 'models--a--b', 'blobs', sha256));
  const wrong = bytes !== undefined && !bytes.equals(content) && blob;
  console.log(`server sends ${answer}: ${wrong ? `no error, ${bytes.length} wrong bytes under the SHA-256 of others` : path}`);
  found.push(wrong);
}

answer = 503;
const reason = await downloadFileToCacheDir({ ...file, cacheDir: 'busy' }).catch((error) => error);
console.log(`server says 503: rejects with ${JSON.stringify(reason)?.replace(/:\d+/, '')}, ${reason instanceof Error ? 'an Error' : `a ${typeof reason}`}`);
found.push(typeof reason === 'string' && reason.startsWith('Api error'));

answer = 'the whole file';
const blobs = join('part', 'models--a--b', 'blobs');
mkdirSync(blobs, { recursive: true });
writeFileSync(join(blobs, `${sha256}.incomplete`), content.subarray(0, 150_000));
asked.length = 0;
await downloadFileToCacheDir({ ...file, cacheDir: 'part' });
console.log(`150,000 of 200,000 bytes are there as .incomplete: asks for ${asked.join()}`);
found.push(asked.join() === 'all of it');

const blob = await downloadFile(file);
const slice = await blob.slice(100_000, 100_010).arrayBuffer();
console.log(`slice of 10 bytes from a server without ranges: ${slice.byteLength} bytes`);
found.push(slice.byteLength === content.length);

server.closeAllConnections();
server.close();
console.log(found.every(Boolean) ? 'As found.' : 'Changed.');
process.exitCode = found.every(Boolean) ? 0 : 1;
JS
node try.mjs
