// A small Hugging Face hub on this machine, with a second server for large files as the real one has, and with faults.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a request meets instead of the right answer. */
export interface Fault {
  /** Another status, with its headers. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection ends after so many bytes of the body. */
  readonly cutAfter?: number;
  /** After so many bytes nothing comes any more, and the connection stays. */
  readonly stallAfter?: number;
  /** A page of HTML with status 200. */
  readonly page?: true;
  /** The first byte of the body is another one. */
  readonly wrongByte?: true;
  /** The size that the headers speak of. */
  readonly saysSize?: number;
  /** The whole file, whatever part was asked for. */
  readonly ignoresRange?: true;
  /** A range that begins one byte later. */
  readonly otherRange?: true;
  /** Bytes in a second. */
  readonly pace?: number;
}

export interface Seen {
  readonly kind: 'api' | 'file' | 'large';
  readonly method: string;
  /** Of the API's path, or of the file in the repository. */
  readonly path: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
}

export interface TestHub {
  readonly endpoint: string;
  readonly commit: string;
  readonly seen: Seen[];
  /** The fault of a request, where it has one; `number` counts requests of this kind and path from 1. */
  fault: ((seen: Seen, number: number) => Fault | undefined) | undefined;
  close(): Promise<void>;
}

export interface TestHubOptions {
  /** Content by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly repository?: string;
  readonly revision?: string;
  readonly commit?: string;
  /** Larger files are stored as large ones. Default 1000 bytes. */
  readonly largeAbove?: number;
  /** Entries on each page of the list. Default 7. */
  readonly pageSize?: number;
  /** Needed for everything, where it is given. */
  readonly token?: string;
  /** What links to further pages say: a mirror passes on those of the hub. */
  readonly linksTo?: string;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const gitHash = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

export async function startHub(options: TestHubOptions): Promise<TestHub> {
  const { files, repository = 'sand-ai/MAGI-1', revision = 'main', commit = 'c0ffee'.padEnd(40, '1') } = options;
  const { largeAbove = 1000, pageSize = 7, token } = options;
  const counts = new Map<string, number>();
  const seen: Seen[] = [];
  const isLarge = (bytes: Uint8Array) => bytes.length > largeAbove;

  function meet(kind: Seen['kind'], path: string, request: IncomingMessage): Fault {
    const { authorization, range } = request.headers;
    const one = { kind, method: request.method!, path, range, token: authorization };
    seen.push(one);
    const number = (counts.get(`${kind} ${path}`) ?? 0) + 1;
    counts.set(`${kind} ${path}`, number);
    return hub.fault?.(one, number) ?? {};
  }

  function refuse(response: ServerResponse, status: number, code: string): void {
    response.writeHead(status, { 'x-error-code': code, 'x-error-message': `refused: ${code}` }).end('{}');
  }

  /** True where the fault is all there is to say. */
  function failed(fault: Fault, response: ServerResponse): boolean {
    if (fault.status !== undefined) response.writeHead(fault.status, { ...fault.headers }).end('fault');
    else if (fault.page) response.writeHead(200, { 'content-type': 'text/html' }).end('<html>please log in</html>');
    else return false;
    return true;
  }

  async function send(
    content: Uint8Array,
    fault: Fault,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (failed(fault, response)) return;
    const match = fault.ignoresRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const first = match === null ? 0 : Number(match[1]);
    const last = match?.[2] ? Math.min(Number(match[2]), content.length - 1) : content.length - 1;
    if (first >= content.length && content.length > 0) {
      response.writeHead(416).end();
      return;
    }
    const body = Buffer.from(content.subarray(first, last + 1));
    if (fault.wrongByte) body[0]! ^= 0xff;
    const size = fault.saysSize ?? content.length;
    const from = fault.otherRange ? first + 1 : first;
    response.writeHead(match === null ? 200 : 206, {
      'content-length': match === null ? size : body.length,
      etag: `"${sha256(content)}"`,
      ...(match !== null && { 'content-range': `bytes ${from}-${last}/${size}` }),
      ...fault.headers,
    });
    if (request.method === 'HEAD') {
      response.end();
      return;
    }
    const end = fault.cutAfter ?? fault.stallAfter ?? body.length;
    const piece = fault.pace === undefined ? 1 << 16 : Math.max(1, Math.floor(fault.pace / 20));
    for (let at = 0; at < end && !response.destroyed; at += piece) {
      const more = response.write(body.subarray(at, Math.min(at + piece, end)));
      if (fault.pace !== undefined) await new Promise((resolve) => setTimeout(resolve, 50));
      else if (!more) await drained(response);
    }
    if (fault.stallAfter !== undefined) return;
    // What was written has to be out before the cut.
    if (fault.cutAfter !== undefined) setTimeout(() => response.destroy(), 20);
    else response.end();
  }

  const large = createServer((request, response) => {
    const url = new URL(request.url!, 'http://large');
    const path = decodeURIComponent(url.pathname.slice(1));
    if (url.searchParams.get('signature') !== 'right') response.writeHead(403).end();
    else void send(files.get(path)!, meet('large', path, request), request, response);
  });

  const main = createServer((request, response) => {
    const url = new URL(request.url!, hub.endpoint);
    const path = decodeURIComponent(url.pathname);
    const resolve = new RegExp(`^/${repository}/resolve/(?:${commit}|${revision})/(.*)$`).exec(path);
    const fault = meet(resolve === null ? 'api' : 'file', resolve?.[1] ?? path, request);
    if (failed(fault, response)) return;
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      refuse(response, 401, 'RepoNotFound');
      return;
    }
    if (resolve !== null) {
      const content = files.get(resolve[1]!);
      if (content === undefined) {
        refuse(response, 404, 'EntryNotFound');
        return;
      }
      response.setHeader('x-repo-commit', commit);
      if (!isLarge(content)) {
        response.setHeader('etag', `"${gitHash(content)}"`);
        void send(content, { ...fault, headers: { etag: `"${gitHash(content)}"` } }, request, response);
        return;
      }
      response.writeHead(302, {
        location: `${addressOf(large, 'localhost')}/${resolve[1]!.split('/').map(encodeURIComponent).join('/')}?signature=right`,
        'x-linked-etag': `"${sha256(content)}"`,
        'x-linked-size': content.length,
      });
      response.end();
      return;
    }
    const api = `/api/models/${repository}`;
    if (path === `${api}/revision/${revision}` || path === `${api}/revision/${commit}`) {
      const siblings = [...files.keys()].map((rfilename) => ({ rfilename }));
      json(response, { id: repository, modelId: repository, sha: commit, siblings });
      return;
    }
    if (path.startsWith(`${api}/revision/`)) {
      refuse(response, 404, 'RevisionNotFound');
      return;
    }
    if (path !== `${api}/tree/${commit}`) {
      refuse(response, 404, 'RepoNotFound');
      return;
    }
    const folders = new Set<string>();
    for (const file of files.keys())
      for (let at = file.indexOf('/'); at >= 0; at = file.indexOf('/', at + 1)) folders.add(file.slice(0, at));
    const entries = [
      ...[...folders].map((folder) => ({ type: 'directory', path: folder, oid: '0'.repeat(40), size: 0 })),
      ...[...files].map(([file, content]) => ({
        type: 'file',
        path: file,
        size: content.length,
        oid: gitHash(content),
        ...(isLarge(content) && { lfs: { oid: sha256(content), size: content.length, pointerSize: 134 } }),
      })),
    ];
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const next = start + pageSize;
    if (next < entries.length) {
      const link = `${options.linksTo ?? hub.endpoint}${path}?recursive=true&expand=false&cursor=${next}`;
      response.setHeader('link', `<${link}>; rel="next"`);
    }
    json(response, entries.slice(start, next));
  });

  await Promise.all([main, large].map((server) => new Promise<void>((done) => server.listen(0, '127.0.0.1', done))));
  const hub: TestHub = {
    endpoint: addressOf(main),
    commit,
    seen,
    fault: undefined,
    async close() {
      for (const server of [main, large]) {
        server.closeAllConnections();
        await new Promise((done) => server.close(done));
      }
    },
  };
  return hub;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function addressOf(server: Server, host = '127.0.0.1'): string {
  return `http://${host}:${(server.address() as AddressInfo).port}`;
}

/** Bytes that look random and are the same every time. */
export function someBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** A repository in the layout of the published one, with `scale` bytes in each of its larger files. */
export function repositoryFiles(scale: number): Map<string, Uint8Array> {
  const text = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  const index = (...shards: string[]) =>
    text({ weight_map: Object.fromEntries(shards.map((shard, i) => [`weight.${i}`, shard])) });
  const base = 'ckpt/magi/4.5B_base/inference_weight';
  const distilled = 'ckpt/magi/4.5B_distill/inference_weight.distill';
  const t5 = 'ckpt/t5/t5-v1_1-xxl';
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const parts = ['pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin'];
  return new Map([
    ['README.md', text('# MAGI-1')],
    ['.gitattributes', text('*.safetensors filter=lfs')],
    ...[base, distilled].flatMap((folder, i): [string, Uint8Array][] => [
      [`${folder}/model.safetensors.index.json`, index(...shards)],
      ...shards.map((name, j): [string, Uint8Array] => [`${folder}/${name}`, someBytes(scale, 10 * i + j)]),
    ]),
    [`${t5}/config.json`, text({ model_type: 't5' })],
    [`${t5}/spiece.model`, someBytes(2000, 50)],
    [`${t5}/tokenizer_config.json`, text({ extra_ids: 100 })],
    [`${t5}/special_tokens_map.json`, text({})],
    [`${t5}/pytorch_model.bin.index.json`, index(...parts)],
    ...parts.map((name, i): [string, Uint8Array] => [`${t5}/${name}`, someBytes(scale + 7 * i, 60 + i)]),
    [`${t5}/tf_model.h5`, someBytes(scale, 70)],
    ['ckpt/vae/config.json', text({ _class_name: 'ViTVAE' })],
    ['ckpt/vae/diffusion_pytorch_model.safetensors', someBytes(scale, 80)],
  ]);
}
