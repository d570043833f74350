// A reader of the protobuf wire format, as far as spiece.model needs it. Own code: the format is a page long, and a generic
// library decodes 32000 pieces of a real vocabulary several times slower and reports corruption without the file's name.
import { FileFormatError } from '@magi1/tensor';

export interface ProtobufField {
  readonly number: number;
  /** Integer of a varint field, bytes of a length-delimited one, bits of a 32 or 64 bit one. */
  readonly value: number | Uint8Array;
  readonly wireType: number;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Reads the fields of one message in file order. @throws FileFormatError naming `file` where the bytes are not a message. */
export function* protobufFields(bytes: Uint8Array, file: string): Generator<ProtobufField> {
  let at = 0;
  const fail = (what: string): never => {
    throw new FileFormatError(
      `${file}: not a SentencePiece model or corrupt: ${what} at byte ${at} of ${bytes.length}`,
    );
  };
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) return fail('truncated number');
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return fail('number of more than ten bytes');
  };
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) fail(`field of ${length} bytes reaches past the end`);
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const wireType = tag % 8;
    const number = Math.floor(tag / 8);
    if (number === 0) fail('field number 0');
    let value: number | Uint8Array;
    if (wireType === VARINT) value = varint();
    else if (wireType === BYTES) value = take(varint());
    else if (wireType === FIXED32) value = take(4);
    else if (wireType === FIXED64) value = take(8);
    else value = fail(`unknown wire type ${wireType}`);
    yield { number, wireType, value };
  }
}
