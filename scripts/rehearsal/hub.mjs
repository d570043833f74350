// A Hugging Face hub on this machine, in a process of its own, that serves a checkpoint which is made as it is read.
// Started by ../rehearse.mjs with the model's name and its depth; tells it its address.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Checksums } from './checksums.mjs';
import { crc32Of } from './files.mjs';
import { repositoryFiles } from './repository.mjs';

export const REPOSITORY = 'sand-ai/MAGI-1';
const COMMIT = '0'.repeat(39) + '1';
const PIECE = 2 ** 22;

/** @typedef {import('./files.mjs').MadeFile} MadeFile */

/**
 * @param {ReadonlyMap<string, MadeFile>} files @param {ReadonlyMap<string, string>} sums SHA-256 by path
 * @returns {Promise<{ endpoint: string, close: () => void }>}
 */
export async function startHub(files, sums) {
  const api = `/api/models/${REPOSITORY}`;
  const tree = [...files].map(([path, { size }]) => {
    const lfs = { oid: sums.get(path), size, pointerSize: 134 };
    return { type: 'file', path, size, oid: '0'.repeat(40), lfs };
  });
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '', 'http://hub').pathname);
    const file = files.get(path.slice(`/${REPOSITORY}/resolve/${COMMIT}/`.length));
    if (path === `${api}/revision/main`) answer(response, { id: REPOSITORY, sha: COMMIT });
    else if (path === `${api}/tree/${COMMIT}`) answer(response, tree);
    else if (file === undefined || !path.startsWith(`/${REPOSITORY}/resolve/${COMMIT}/`)) response.writeHead(404).end();
    else void send(file, request, response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint: `http://127.0.0.1:${port}`, close };
}

/** @param {import('node:http').ServerResponse} response @param {unknown} value */
function answer(response, value) {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/**
 * @param {MadeFile} file
 * @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response
 */
async function send(file, { method, headers }, response) {
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '');
  const first = Number(range?.[1] ?? 0);
  const end = Math.min(file.size, range?.[2] ? Number(range[2]) + 1 : file.size);
  if (first >= end && file.size > 0) {
    response.writeHead(416).end();
    return;
  }
  response.writeHead(range === null ? 200 : 206, {
    'content-length': end - first,
    ...(range !== null && { 'content-range': `bytes ${first}-${end - 1}/${file.size}` }),
  });
  for (let at = first; method !== 'HEAD' && at < end && !response.destroyed;) {
    const piece = file.read(new Uint8Array(Math.min(PIECE, end - at)), at);
    at += piece.length;
    if (!response.write(piece)) await drained(response);
  }
  response.end();
}

/** @param {import('node:http').ServerResponse} response */
const drained = (response) =>
  new Promise((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve(undefined);
    };
    response.on('drain', go).on('close', go);
  });

/** SHA-256 of every file. @param {ReadonlyMap<string, MadeFile>} files @param {Checksums} known @param {string} model */
export function sumsOf(files, known, model) {
  const sums = new Map();
  for (const [path, file] of files)
    sums.set(
      path,
      known.of(`sha256 ${model} ${path} ${file.size}`, () => {
        const sum = createHash('sha256');
        for (const piece of file.pieces()) sum.update(piece);
        return sum.digest('hex');
      }),
    );
  return sums;
}

/** @param {readonly string[]} args the model's name and, where it is cut, its depth */
async function serve([model = '', layers]) {
  process.on('disconnect', () => process.exit());
  process.on('SIGINT', () => undefined); // whoever has started it ends it
  const known = new Checksums();
  const depth = layers === undefined ? undefined : Number(layers);
  const { publishedConfig } = await import('../../packages/magi1/dist/config/published.js');
  const config = publishedConfig(/** @type {any} */ (model));
  const files = repositoryFiles(model, /** @type {any} */ (config), {
    layers: depth,
    crcOf: (name, bytes) => known.of(`crc ${name} ${bytes.length} ${depth}`, () => crc32Of(bytes)),
  });
  const { endpoint } = await startHub(files, sumsOf(files, known, `${model} ${depth}`));
  process.send?.({ endpoint });
}

if (process.send !== undefined && process.argv[1] === import.meta.filename) await serve(process.argv.slice(2));
