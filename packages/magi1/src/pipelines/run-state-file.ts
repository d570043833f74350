// The state of a run as bytes: a safetensors file with the latents of each chunk; its metadata say what they belong to and
// hold a checksum over all of it.
import { bytesSource, encodeSafetensors, openSafetensors } from '@magi1/loaders';
import { FileFormatError, Magi1Error, isOptions } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { hashed } from './run-state.ts';
import type { RunIdentity, RunState } from './kept.ts';

const KIND = 'magi1 run';
const FORMAT = '1';
const CHUNK = /^latents\.(\d+)$/;

/** The bytes of a file that `decodeRunState` reads: a few KiB, and those of the latents. */
export async function encodeRunState(state: RunState): Promise<Uint8Array> {
  const { step, firstChunk, device, identity, latents } = state;
  const tensors = new Map(
    [...latents].map(([chunk, data]): [string, HostTensor] => [
      `latents.${chunk}`,
      { dtype: 'f32', shape: [data.length], data },
    ]),
  );
  return encodeSafetensors(tensors, {
    kind: KIND,
    format: FORMAT,
    facts: JSON.stringify({ step, firstChunk, device, identity }),
    checksum: await checksum(state),
  });
}

/**
 * @param name of the file, for messages
 * @throws Magi1Error for bytes that are not those of a whole state, or of another version's
 */
export async function decodeRunState(bytes: Uint8Array, name = 'run state'): Promise<RunState> {
  const fail = (problem: string, cause?: unknown): never => {
    throw new Magi1Error(`${name}: ${problem}`, { cause });
  };
  const file = await openSafetensors(bytesSource(bytes, name)).catch((error: unknown) => {
    if (!(error instanceof FileFormatError)) throw error;
    return fail(`not the whole state of a run (${error.message})`, error);
  });
  const { metadata } = file;
  if (metadata.get('kind') !== KIND) fail('a safetensors file, but not the state of a run');
  const format = metadata.get('format');
  if (format !== FORMAT)
    fail(`format ${FORMAT} expected, got ${format ?? 'none'}: another version of magi1 has written it`);
  const latents = new Map<number, Float32Array>();
  for (const tensor of file.tensors.keys()) {
    const chunk = CHUNK.exec(tensor)?.[1];
    const { dtype, data } = await file.readTensor(tensor);
    if (chunk === undefined || dtype !== 'f32')
      fail(`${tensor} of type ${dtype} does not belong to the state of a run`);
    latents.set(Number(chunk), (data as Float32Array).slice());
  }
  let state: RunState;
  try {
    state = { ...(JSON.parse(metadata.get('facts')!) as Omit<RunState, 'latents'>), latents };
  } catch (error) {
    return fail('its facts cannot be read', error);
  }
  if (!isOptions(state.identity) || metadata.get('checksum') !== (await checksum(state)))
    fail('it is damaged: its checksum is another');
  return state;
}

async function checksum({ step, firstChunk, device, identity, latents }: RunState): Promise<string> {
  const chunks = [...latents].sort(([a], [b]) => a - b);
  const hashes = await Promise.all(chunks.map(async ([chunk, data]) => [chunk, await hashed(data)]));
  return hashed([step, firstChunk, device, Object.entries(identity satisfies RunIdentity), hashes]);
}
