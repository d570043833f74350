// The tokenizer of a T5 folder, from whichever of its files is there.
import { FileFormatError } from '@magi1/tensor';
import { ifFound, readBytes } from '../folder.ts';
import type { Folder } from '../folder.ts';
import { loadTokenizer } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';

const MAX_TOKENIZER = 64 << 20;
const MAX_CONFIG = 4 << 20;

export type TokenizerFile = 'tokenizer.json' | 'spiece.model';

/**
 * Reads a T5 folder's tokenizer.
 * @param files which to look for, the first one there is taken; by default tokenizer.json, then spiece.model
 */
export async function readTokenizer(
  folder: Folder,
  files: readonly TokenizerFile[] = ['tokenizer.json', 'spiece.model'],
): Promise<Tokenizer> {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  for (const file of files) {
    const bytes = await ifFound(readBytes(folder, file, MAX_TOKENIZER));
    if (bytes === undefined) continue;
    if (file === 'tokenizer.json') return loadTokenizer({ tokenizerJson: text(bytes) });
    const config = await ifFound(readBytes(folder, 'tokenizer_config.json', MAX_CONFIG));
    return loadTokenizer({ spiece: bytes, ...(config === undefined ? {} : { tokenizerConfig: text(config) }) });
  }
  throw new FileFormatError(`${folder.name}: expected ${files.join(' or ')}, found neither`);
}
