// Every hostile, corrupt and tricky file of the conformance kit: the bad ones are refused with an error that says what
// is wrong, the valid ones load, and torch checkpoints give the bytes that torch gives.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostDType, openFile, openSafetensors, openTorch } from '@magi1/loaders';
import type { ByteSource, TensorFile } from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { expect, test } from 'vitest';
import { conformanceRoots } from '../../../tests/support/conformance.ts';

const kit = join(conformanceRoots().root, 't5');

interface Case {
  readonly file: string;
  readonly problem: string;
  readonly expected: string;
}

function manifest(folder: string): Case[] {
  return JSON.parse(readFileSync(join(kit, folder, 'manifest.json'), 'utf8')) as Case[];
}

async function open<T>(
  path: string,
  reader: (source: ByteSource) => Promise<TensorFile>,
  use: (file: TensorFile) => Promise<T>,
) {
  const source = await openFile(path);
  try {
    return await use(await reader(source));
  } finally {
    await source.close();
  }
}

async function readAll(file: TensorFile): Promise<Map<string, HostTensor>> {
  const tensors = new Map<string, HostTensor>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.readTensor(name));
  return tensors;
}

/** Words that the message for each refused file must contain. */
const SAFETENSORS_MESSAGES: Record<string, RegExp> = {
  'header_too_long.safetensors': /header length 1000000/,
  'header_len_huge.safetensors': /exceeds the format's limit/,
  'header_len_max_u64.safetensors': /exceeds the format's limit/,
  'header_len_zero.safetensors': /invalid header length 0/,
  'header_len_short.safetensors': /invalid JSON/,
  'overlapping_offsets.safetensors': /overlaps/,
  'offsets_past_end.safetensors': /truncated/,
  'hole_between.safetensors': /hole/,
  'does_not_start_at_zero.safetensors': /starts at byte 4, expected 0/,
  'offsets_reversed.safetensors': /end before they begin/,
  'negative_offset.safetensors': /non-negative/,
  'shape_size_mismatch.safetensors': /needs 24 bytes, data_offsets give 16/,
  'shape_overflow.safetensors': /not a valid size|below 2\^53/,
  'shape_negative.safetensors': /non-negative/,
  'shape_fractional.safetensors': /found \[2.0/,
  'shape_string.safetensors': /found "22"/,
  'invalid_json.safetensors': /invalid JSON/,
  'trailing_comma.safetensors': /invalid JSON/,
  'json_is_array.safetensors': /begin with '\{'/,
  'invalid_utf8.safetensors': /UTF-8/,
  'leading_space.safetensors': /begin with '\{'/,
  'unknown_dtype.safetensors': /unknown dtype "F12"/,
  'lowercase_dtype.safetensors': /unknown dtype "f32"/,
  'duplicate_keys.safetensors': /duplicate key "a"/,
  'duplicate_keys_same_range.safetensors': /duplicate key "a"/,
  'missing_offsets.safetensors': /data_offsets .* found nothing/,
  'metadata_not_strings.safetensors': /must be a string, found 3/,
  'trailing_bytes.safetensors': /after the last tensor/,
  'truncated_data.safetensors': /truncated/,
  'empty.safetensors': /too short/,
  'seven_bytes.safetensors': /too short/,
  'lfs_pointer.safetensors': /Git LFS/,
};

const BIN_MESSAGES: Record<string, RegExp> = {
  'evil_os_system.bin': /"posix\.system".*not allowed/,
  'evil_eval.bin': /\.eval".*not allowed/,
  'evil_getattr.bin': /\.getattr".*not allowed/,
  'evil_torch_prefix.bin': /"torch\.serialization\.load".*not allowed/,
  'truncated_60pct.bin': /truncated or no zip/,
  'truncated_last_bytes.bin': /truncated or no zip/,
  'storage_too_short.bin': /has 132 bytes, declared are 140/,
  'storage_missing.bin': /"data\/1" is missing/,
  'no_data_pkl.bin': /0 records data\.pkl/,
  'shape_exceeds_storage.bin': /"a\.weight" reaches past the end.*\[5,99\]/,
  'offset_past_end.bin': /reaches past the end.*offset 240/,
  'pickle_truncated.bin': /pickle/,
  'pickle_garbage.bin': /pickle/,
  'not_a_zip.bin': /not a torch checkpoint/,
  'empty.bin': /empty file/,
  'git_lfs_pointer.bin': /Git LFS/,
  'unsupported_complex.bin': /c64 are not supported/,
  'size_lies.bin': /claims 2147483648|claims 2\d{9}/,
  'crc_mismatch.bin': /"d\.big": checksum mismatch/,
};

for (const { file, problem, expected } of manifest('bad_safetensors')) {
  const path = join(kit, 'bad_safetensors', file);
  if (expected.startsWith('refuse')) {
    test(`${file} is refused: ${problem}`, async () => {
      const error: unknown = await open(path, openSafetensors, readAll).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(FileFormatError);
      expect((error as Error).message).toContain(file);
      expect((error as Error).message).toMatch(SAFETENSORS_MESSAGES[file] ?? /./);
    });
  } else if (file !== 'ok_many_dtypes.safetensors') {
    test(`${file} loads: ${problem}`, async () => {
      const tensors = await open(path, openSafetensors, readAll);
      const values = Object.fromEntries([...tensors].map(([name, { data }]) => [`=${name}`, [...data]]));
      expect(values).toEqual(VALUES[file] ?? 'a file that this test does not know');
    });
  }
}

// Keys carry a '=' so that __proto__ is an ordinary one.
const VALUES: Record<string, Record<string, number[]>> = {
  'ok_scalar_and_empty.safetensors': { '=s': [2.5], '=e': [], '=i': [-7] },
  'ok_unaligned_header.safetensors': { '=a': [1, 2, 3, 4] },
  'ok_key_order.safetensors': { '=a': [1, 2], '=z': [3] },
  'ok_prototype_names.safetensors': { '=__proto__': [1], '=constructor': [2], '=toString': [3] },
  'ok_metadata_unicode.safetensors': { '=té': expect.any(Array) as number[] },
  'ok_only_metadata.safetensors': {},
  'ok_no_tensors.safetensors': {},
};

test('ok_many_dtypes.safetensors: every type is read, widened or refused by name', async () => {
  await open(join(kit, 'bad_safetensors', 'ok_many_dtypes.safetensors'), openSafetensors, async (file) => {
    const read = async (name: string) => {
      const { dtype, data } = await file.readTensor(name);
      return [dtype, ...data];
    };
    expect(await read('bool')).toEqual(['bool', 1, 0, 1]);
    expect(await read('u8')).toEqual(['u8', 200]);
    expect(await read('i8')).toEqual(['i32', -1, 127]);
    expect(await read('i16')).toEqual(['i32', -300]);
    expect(await read('u32')).toEqual(['u32', 4000000000]);
    expect(await read('f16')).toEqual(['f16', 0x3e00, 0xc080]);
    expect(await read('bf16')).toEqual(['bf16', 0x3fc0, 0xc010]);
    expect(await read('e4m3')).toEqual(['f8e4m3fn', 0x38, 0xb8]);
    expect(await read('e5m2')).toEqual(['f16', 0x3c00, 0xbc00]);
    // 1e300 has no f32; its bytes are there for who can use them.
    await expect(read('f64')).rejects.toThrow(/"f64": value 1e\+300 at index 0 does not fit f32/);
    const raw = await file.readRange('f64', 0, 8);
    expect(new DataView(raw.slice().buffer).getFloat64(0, true)).toBe(1e300);
  });
});

for (const { file, problem, expected } of manifest('bad_bin')) {
  const path = join(kit, 'bad_bin', file);
  if (expected.startsWith('refuse')) {
    test(`${file} is refused: ${problem}`, async () => {
      const error: unknown = await open(path, openTorch, readAll).catch((cause: unknown) => cause);
      expect(error).toBeInstanceOf(FileFormatError);
      expect((error as Error).message).toContain(file);
      expect((error as Error).message).toMatch(BIN_MESSAGES[file] ?? /./);
    });
  } else {
    test(`${file} loads as small_f32: ${problem}`, () => sameAs(path, 'small_f32'));
  }
}

for (const file of readdirSync(join(kit, 'bin')).filter((name) => name.endsWith('.bin'))) {
  test(`${file} holds what torch reads`, () => sameAs(join(kit, 'bin', file), file.replace('.bin', '')));
}

/** Names, shapes, dtypes and stored bytes equal those of the expected safetensors file. */
async function sameAs(path: string, expectedName: string): Promise<void> {
  await open(path, openTorch, (file) =>
    open(join(kit, 'bin', `${expectedName}_expected.safetensors`), openSafetensors, async (reference) => {
      expect([...file.tensors.keys()].sort()).toEqual([...reference.tensors.keys()].sort());
      for (const [name, { dtype, shape, byteLength }] of reference.tensors) {
        const entry = file.tensors.get(name)!;
        expect([entry.dtype, entry.shape, entry.byteLength], name).toEqual([dtype, shape, byteLength]);
        const raw = await file.readRange(name, 0, byteLength);
        expect(raw, name).toEqual(await reference.readRange(name, 0, byteLength));
        expect(await file.readTensor(name), name).toEqual(await reference.readTensor(name));
        expect((await file.readTensor(name)).dtype).toBe(hostDType(dtype));
        // Pieces give the same bytes as the whole.
        const half = byteLength >> 1;
        const pieces = [await file.readRange(name, 0, half), await file.readRange(name, half, byteLength - half)];
        expect([...pieces[0]!, ...pieces[1]!]).toEqual([...raw]);
      }
    }),
  );
}

test('crc_mismatch.bin: readable when checksums are turned off', async () => {
  const path = join(kit, 'bad_bin', 'crc_mismatch.bin');
  const tensors = await open(path, (source) => openTorch(source, { crc: false }), readAll);
  expect(tensors.get('d.big')!.shape).toEqual([64, 33]);
});

test('crc_mismatch.bin: reading in pieces finds it too, at the last piece', async () => {
  await open(join(kit, 'bad_bin', 'crc_mismatch.bin'), openTorch, async (file) => {
    await file.readRange('d.big', 0, 4000);
    await expect(file.readRange('d.big', 4000, 4448)).rejects.toThrow(/checksum mismatch/);
  });
});
