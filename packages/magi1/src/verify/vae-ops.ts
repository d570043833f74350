// Single operations of the VAE kit: norms, GELU, attention, resize, patches, convolutions, blending, uint8, blocks.
import {
  attention,
  blendEdges,
  conv3d,
  framesToUint8,
  geluErf,
  layerNorm,
  linear,
  patchify,
  permute,
  qkNorm,
  resizeTrilinear,
  uint8ToVideo,
  unpatchify,
} from '@magi1/kernels';
import type { HostTensor, Tensor } from '@magi1/tensor';
import { dirname, join } from 'node:path';
import type { ViTVae } from '../vae/vit-vae.ts';
import { compareFloats, compareLevels, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import type { Gate } from './goldens.ts';
import type { Check, VerifyContext } from './types.ts';
import { loadVae } from './load-networks.ts';
import { readTensors } from './files.ts';

const GATE: Gate = { relL2: 1e-5, maxAbs: 5e-5 };

type Goldens = ReadonlyMap<string, HostTensor>;
type Group = (name: string, goldens: Goldens, context: VerifyContext, folder: string) => Promise<Check[]>;

/** All groups found in an ops file; a name that no group knows is a failed check. */
export async function verifyVaeOps(path: string, context: VerifyContext): Promise<Check[]> {
  const goldens = await readTensors(path);
  const groups = new Set([...goldens.keys()].map(groupOf));
  const checks: Check[] = [];
  for (const name of groups) {
    const known = Object.entries(GROUPS).find(([pattern]) => new RegExp(`^${pattern}$`).test(name));
    if (known === undefined)
      checks.push({ what: name, pass: false, tolerance: '', detail: 'no operation of this name' });
    else checks.push(...(await known[1](name, goldens, context, dirname(path))));
  }
  return checks;
}

/** `resize_pos_embed.3.in` -> `resize_pos_embed.3`, `block.v1.encoder.blocks.0.in` -> all but the last part. */
const groupOf = (name: string): string => name.slice(0, name.lastIndexOf('.'));

const GROUPS: Readonly<Record<string, Group>> = {
  manual_layernorm: async (name, goldens, { device }) => {
    const input = golden(goldens, `${name}.in`);
    const [rows, width] = input.shape as [number, number];
    const out = qkNorm(toDevice(device, input, [rows, 1, width]), { kind: 'std', eps: 1e-5 });
    // Rows 1 and 2 have standard deviations of 1e-4 and 1e-5 around an offset: float32 cancels there.
    return compareRows(name, out, golden(goldens, `${name}.out`), (row) => [1e-5, 1e-2, 2e-2][row] ?? 1e-5);
  },
  layernorm: async (name, goldens, { device }) => {
    const [x, weight, bias] = ['in', 'weight', 'bias'].map((part) =>
      toDevice(device, golden(goldens, `${name}.${part}`)),
    ) as [Tensor, Tensor, Tensor];
    const out = layerNorm(x, { weight, bias, eps: 1e-5 });
    const input = golden(goldens, `${name}.in`);
    return compareRows(name, out, golden(goldens, `${name}.out`), (row) => (isLowVariance(input, row) ? 1e-3 : 1e-5));
  },
  gelu: async (name, goldens, { device }) => [
    await compareTensor(
      name,
      geluErf(toDevice(device, golden(goldens, `${name}.in`))),
      golden(goldens, `${name}.out`),
      GATE,
    ),
  ],
  attention_packed: async (name, goldens, { device }) => {
    const qkv = golden(goldens, `${name}.qkv`); // [b, n, 3, h, d]
    const [batch, length, , heads, headDim] = qkv.shape as [number, number, number, number, number];
    const parts = permute(toDevice(device, qkv), [2, 0, 1, 3, 4]).reshape([3, batch * length, heads, headDim]);
    const [q, k, v] = [0, 1, 2].map((i) => parts.slice(i, i + 1).reshape([batch * length, heads, headDim])) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const blocks = Array.from({ length: batch }, (_, b) => {
      const range = [b * length, (b + 1) * length] as const;
      return { q: range, k: range };
    });
    const out = attention(q, k, v, { blocks, scale: 1 / Math.sqrt(headDim) });
    return [
      await compareTensor(name, out.reshape([batch, length, heads, headDim]), golden(goldens, `${name}.out`), GATE),
    ];
  },
  'resize_pos_embed\\.\\d+': async (name, goldens, { device }) => {
    const grid = (part: string) => [...golden(goldens, `${name}.${part}`).data] as [number, number, number];
    const input = golden(goldens, `${name}.in`);
    const width = input.shape[2]!;
    const out = resizeTrilinear(toDevice(device, input, [...grid('src'), width]), { size: grid('target') });
    return [await compareTensor(name, out.reshape([1, -1, width]), golden(goldens, `${name}.out`), GATE)];
  },
  patch_embed: async (name, goldens, { device }) => {
    const weight = golden(goldens, `${name}.weight`);
    const [width, , ...patch] = weight.shape as [number, number, number, number, number];
    const bias = toDevice(device, golden(goldens, `${name}.bias`));
    const checks: Check[] = [];
    for (const suffix of ['', '_ragged']) {
      const tokens = patchify(toDevice(device, golden(goldens, `${name}.in${suffix}`)), { patch });
      const features = linear(tokens, toDevice(device, weight).reshape([width, -1]), { bias });
      const stored = golden(goldens, `${name}.out${suffix}`);
      const [batch, , ...grid] = stored.shape as [number, number, number, number, number];
      const video = permute(features.reshape([batch, ...grid, width]), [0, 4, 1, 2, 3]);
      checks.push(await compareTensor(name + suffix, video, stored, GATE));
    }
    return checks;
  },
  unpatch: async (name, goldens, { device }) => {
    const grid = [...golden(goldens, `${name}.latent_thw`).data] as [number, number, number];
    const [pt, ph, pw, channels] = [...golden(goldens, `${name}.patch_thw_channels`).data] as [
      number,
      number,
      number,
      number,
    ];
    const input = golden(goldens, `${name}.in`);
    const tokens = toDevice(device, input).reshape([-1, input.shape[2]!]);
    const out = unpatchify(tokens, { batch: 1, grid, patch: [pt, ph, pw], channels });
    return [await compareTensor(name, out, golden(goldens, `${name}.out`), { maxAbs: 0 })];
  },
  'conv3d(_\\w+)?': async (name, goldens, { device }) => {
    const [x, weight, bias] = ['in', 'weight', 'bias'].map((part) =>
      toDevice(device, golden(goldens, `${name}.${part}`)),
    ) as [Tensor, Tensor, Tensor];
    return [
      await compareTensor(name, conv3d(x, weight, { bias, padding: [1, 1, 1] }), golden(goldens, `${name}.out`), GATE),
    ];
  },
  'blend_[tvh]': async (name, goldens, { device }) => {
    const [a, b] = ['a', 'b'].map((part) => toDevice(device, golden(goldens, `${name}.${part}`))) as [Tensor, Tensor];
    const axis = { t: 2, v: 3, h: 4 }[name.at(-1) as 't' | 'v' | 'h'];
    const checks: Check[] = [];
    for (const [key, stored] of goldens) {
      const extent = key.startsWith(`${name}.extent`) ? Number(key.slice(`${name}.extent`.length)) : undefined;
      if (extent !== undefined) checks.push(await compareTensor(key, blendEdges(a, b, { axis, extent }), stored, GATE));
    }
    return checks;
  },
  gaussian: (name, goldens) => {
    const [mean, logvar, noise] = ['mean', 'logvar', 'noise'].map((part) =>
      goldenFloats(goldens, `${name}.${part}`),
    ) as [Float32Array, Float32Array, Float32Array];
    const moments = goldenFloats(goldens, `${name}.moments`);
    const clamped = moments.slice(moments.length / 2).map((value) => Math.min(Math.max(value, -30), 20));
    const std = clamped.map((value) => Math.exp(0.5 * value));
    const sample = mean.map((value, i) => value + std[i]! * noise[i]!);
    return Promise.resolve([
      compareFloats(`${name}.mean`, moments.slice(0, moments.length / 2), mean, { maxAbs: 0 }),
      compareFloats(`${name}.logvar`, clamped, logvar, { maxAbs: 0 }),
      compareFloats(`${name}.std`, std, goldenFloats(goldens, `${name}.std`), { relL2: 1e-5 }),
      compareFloats(`${name}.sample`, sample, goldenFloats(goldens, `${name}.sample`), { relL2: 1e-5 }),
    ]);
  },
  to_uint8: async (name, goldens, { device }) => {
    const levels = await framesToUint8(toDevice(device, golden(goldens, `${name}.in`))).read(); // [T, H, W, 3]
    const stored = golden(goldens, `${name}.out`); // [T, 3, H, W]
    const [frames, channels, height, width] = stored.shape as [number, number, number, number];
    const planar = new Uint8Array(levels.length);
    const plane = height * width;
    for (let f = 0; f < frames; f++)
      for (let c = 0; c < channels; c++)
        for (let i = 0; i < plane; i++)
          planar[(f * channels + c) * plane + i] = levels[(f * plane + i) * channels + c]!;
    return [compareLevels(name, planar, stored.data as Uint8Array, 0.005)];
  },
  from_uint8: async (name, goldens, { device }) => {
    // One channel in the golden; the op takes RGB frames, so every level is shown in all three.
    const input = golden(goldens, `${name}.in`);
    const rgb = Uint8Array.from({ length: input.data.length * 3 }, (_, i) => input.data[Math.floor(i / 3)]!);
    const [height, width] = input.shape.slice(-2) as [number, number];
    const video = await uint8ToVideo(device.tensor(rgb, [1, height, width, 3], 'u8')).toFloat32();
    return [compareFloats(name, video.slice(0, input.data.length), goldenFloats(goldens, `${name}.out`), GATE)];
  },
  'block\\..+': async (name, goldens, { device }, folder) => {
    const [, model, side, , index] = name.split('.') as [string, string, 'encoder' | 'decoder', string, string];
    const vae: ViTVae = await loadVae(join(folder, model), device);
    try {
      const input = golden(goldens, `${name}.in`);
      const [batch, length, width] = input.shape as [number, number, number];
      const x = toDevice(device, input, [batch * length, width]);
      const block = vae[side].blocks[Number(index)]!;
      const parts: [string, Tensor][] = [
        ['attn_out', block.attn.forward(block.norm1?.forward(x) ?? x, batch)],
        ['mlp_out', block.mlp.forward(block.norm2.forward(x))],
        ['out', block.forward(x, batch)],
      ];
      const checks: Check[] = [];
      for (const [part, tensor] of parts) {
        const actual = tensor.reshape([batch, length, width]);
        checks.push(await compareTensor(`${name}.${part}`, actual, golden(goldens, `${name}.${part}`), GATE));
      }
      return checks;
    } finally {
      vae.dispose();
    }
  },
};

async function compareRows(
  what: string,
  out: Tensor,
  stored: HostTensor,
  gate: (row: number) => number,
): Promise<Check[]> {
  const actual = await out.toFloat32();
  const [rows, width] = stored.shape as [number, number];
  return Array.from({ length: rows }, (_, row) => {
    const part = [row * width, (row + 1) * width] as const;
    return compareFloats(`${what} row ${row}`, actual.slice(...part), stored.data.slice(...part), { relL2: gate(row) });
  });
}

/** Rows whose spread is small against the epsilon of 1e-5 under the root. */
function isLowVariance(input: HostTensor, row: number): boolean {
  const width = input.shape[1]!;
  const values = [...input.data.slice(row * width, (row + 1) * width)];
  const mean = values.reduce((sum, value) => sum + value, 0) / width;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width < 1e-4;
}
