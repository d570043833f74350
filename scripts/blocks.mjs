// npm run blocks -- [options]: one block of each network at its true width against float64.
import { parseArgs } from 'node:util';
import { prepare } from './magi1.mjs';
import { Stop, say } from './processes.mjs';

const USAGE = `npm run blocks -- [options]
Runs one block of a network at its true width, with random weights, and compares 16 of its tokens with float64 (plain loops of
its own). Prints, for each type of weights, how far they are off by the size of what the block adds to its input: the worst
token, and all.
  --model LIST        4.5B, 24B, t5, vae; default 4.5B
  --dtype LIST        f32, bf16, f16, q8, q4, and f8e4m3fn of 4.5B and 24B; default all
  --tokens N          default 9360 of the transformers, 800 of t5; the vae has a tile of 256 x 256 pixels and 16 frames
  --device NAME       wasm (default), webgpu or reference
  --adapter NAME      of webgpu
Exit status 1 when a token is off by more than 1e-5, or 1e-2 in f8e4m3fn, where float64 rounds other inputs up.
LIST: several, as in --dtype q8,q4.`;

const MODELS = ['4.5B', '24B', 't5', 'vae'];
const DTYPES = ['f32', 'bf16', 'f16', 'f8e4m3fn', 'q8', 'q4'];
export const LIMITS = { f8e4m3fn: 1e-2, other: 1e-5 };

/** @param {readonly string[]} args */
export async function main(args) {
  const values = readArgs(args);
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const models = listOf('model', values.model, MODELS);
  const dtypes = values.dtype === undefined ? DTYPES : listOf('dtype', values.dtype, DTYPES);
  const tokens = values.tokens === undefined ? undefined : Number(values.tokens);
  if (tokens !== undefined && !(Number.isSafeInteger(tokens) && tokens > 0))
    throw new Stop(`--tokens: a whole number from 1 expected, got "${values.tokens}"`);
  await prepare();
  const [{ Device }, networks] = await Promise.all([import('@magi1/tensor'), import('./blocks/networks.mjs')]);
  const device = await Device.open({ backend: values.device, ...(values.adapter && { adapter: values.adapter }) });
  say(`${device.backend}: ${device.info.name}`);
  let wrong = 0;
  try {
    for (const model of models) {
      for (const dtype of dtypes) {
        const isDit = model === '4.5B' || model === '24B';
        if (dtype === 'f8e4m3fn' && !isDit) continue;
        const { worst, relativeL2, seconds, what } = await checkOne(networks, device, model, dtype, tokens);
        const bad = !(worst <= (dtype === 'f8e4m3fn' ? LIMITS.f8e4m3fn : LIMITS.other));
        if (bad) wrong++;
        const numbers = `worst token ${worst.toExponential(2)}  all ${relativeL2.toExponential(2)}`;
        process.stdout.write(
          `${what}  ${dtype.padEnd(8)}  ${numbers}  ${seconds.toFixed(1)} s${bad ? '  WRONG' : ''}\n`,
        );
      }
    }
  } finally {
    await device.dispose();
  }
  return wrong === 0 ? 0 : 1;
}

async function checkOne(
  { checkT5, checkTransformer, checkVae, ditConfig, t5Config, vaeConfig },
  device,
  model,
  dtype,
  asked,
) {
  if (model === 'vae') {
    const config = vaeConfig();
    return {
      ...(await checkVae(device, { config, grid: [4, 32, 32], dtype })),
      what: `vae, ${config.depth} layers, 4097 tokens`,
    };
  }
  const tokens = asked ?? (model === 't5' ? 800 : 9360);
  const result =
    model === 't5'
      ? await checkT5(device, { config: t5Config(), tokens, dtype })
      : await checkTransformer(device, { config: ditConfig(model), tokens, dtype });
  return { ...result, what: `${model}, ${tokens} tokens` };
}

function listOf(name, text, choices) {
  const list = text.split(',');
  const wrong = list.find((each) => !choices.includes(each));
  if (wrong !== undefined) throw new Stop(`--${name}: one of ${choices.join(', ')} expected, got "${wrong}"`);
  return list;
}

/** @param {readonly string[]} args */
function readArgs(args) {
  const options = /** @type {const} */ ({
    model: { type: 'string', default: '4.5B' },
    dtype: { type: 'string' },
    tokens: { type: 'string' },
    device: { type: 'string', default: 'wasm' },
    adapter: { type: 'string' },
    help: { type: 'boolean', default: false },
  });
  try {
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    throw new Stop(`${error.message}\n\n${USAGE}`);
  }
}
