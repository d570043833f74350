// Copies of the tiny model with something wrong in them.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { TINY_MODEL } from './cli.ts';

export const TRANSFORMER_FILE = join('magi', 'inference_weight', 'model.safetensors');

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Removed when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'magi1-test-'));
  folders.push(folder);
  return folder;
}

export function copyTinyModel(): string {
  const folder = join(temporaryFolder(), 'model');
  cpSync(TINY_MODEL, folder, { recursive: true });
  return folder;
}

/** Changes the config.json of a model folder. */
export function editConfig(folder: string, edit: (config: Record<string, Record<string, unknown>>) => void): void {
  const file = join(folder, 'config.json');
  const config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
  edit(config);
  writeFileSync(file, JSON.stringify(config));
}

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

/** Rewrites a safetensors file under a changed header; its data stays. */
export function editHeader(file: string, edit: (header: Header) => void): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Header;
  edit(header);
  const text = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(file, Buffer.concat([size, text, bytes.subarray(8 + length)]));
}

export function truncate(file: string, keep: number): void {
  writeFileSync(file, readFileSync(file).subarray(0, keep));
}

/** Overwrites elements of one tensor of a safetensors file: the first, or all of them. f32 and bf16 only. */
export function setWeight(file: string, name: string, value: number, elements: 'first' | 'all' = 'first'): void {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Header;
  const { dtype, data_offsets: offsets } = header[name]!;
  const [start, end] = offsets.map((offset) => 8 + length + offset) as [number, number];
  const float = Buffer.alloc(4);
  float.writeFloatLE(value);
  const stored = dtype === 'F32' ? float : float.subarray(2);
  for (let at = start; at < (elements === 'all' ? end : start + 1); at += stored.length) stored.copy(bytes, at);
  writeFileSync(file, bytes);
}
