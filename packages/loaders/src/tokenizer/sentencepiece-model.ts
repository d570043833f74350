// Reads spiece.model and completes it as Hugging Face's T5 converter does: end token, 100 `<extra_id_N>`, normalisation.
import { FileFormatError } from '@magi1/tensor';
import { compileCharsmap } from './charsmap.ts';
import { protobufFields, type ProtobufField } from './protobuf.ts';
import {
  END_TOKEN,
  PAD_TOKEN,
  SPACE_MARK,
  TRAILING_SPACE,
  type SpecialToken,
  type TokenizerModel,
} from './tokenizer-model.ts';

// Field numbers of sentencepiece_model.proto.
const MODEL = { pieces: 1, trainerSpec: 2, normalizerSpec: 3 };
const PIECE = { piece: 1, score: 2, type: 3 };
const TRAINER = { modelType: 3, byteFallback: 35, unknownId: 40 };
const NORMALIZER = { precompiledCharsmap: 2 };
const UNIGRAM = 1;
const PieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4 };

const FILE = 'spiece.model';
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function bytesOf(field: ProtobufField, what: string): Uint8Array {
  if (field.value instanceof Uint8Array) return field.value;
  throw new FileFormatError(`${FILE}: ${what} should be bytes, got an integer`);
}
function integerOf(field: ProtobufField, what: string): number {
  if (typeof field.value === 'number') return field.value;
  throw new FileFormatError(`${FILE}: ${what} should be an integer, got bytes`);
}

function readPiece(message: Uint8Array, id: number): { text: string; score: number; type: number } {
  let text = '';
  let score = 0;
  let type = PieceType.normal;
  for (const field of protobufFields(message, FILE)) {
    if (field.number === PIECE.piece) {
      try {
        text = strictUtf8.decode(bytesOf(field, `piece ${id}`));
      } catch (cause) {
        throw new FileFormatError(`${FILE}: piece ${id} is not UTF-8 text`, { cause });
      }
    } else if (field.number === PIECE.score) {
      const bits = bytesOf(field, `score of piece ${id}`);
      if (bits.length !== 4) throw new FileFormatError(`${FILE}: score of piece ${id} should be a 32-bit float`);
      score = new DataView(bits.buffer, bits.byteOffset, 4).getFloat32(0, true);
    } else if (field.number === PIECE.type) type = integerOf(field, `type of piece ${id}`);
  }
  if (text === '') throw new FileFormatError(`${FILE}: piece ${id} is empty`);
  if (!Number.isFinite(score))
    throw new FileFormatError(`${FILE}: score of piece ${id} is ${score}, expected a finite number`);
  return { text, score, type };
}

/**
 * @param extraIds number of sentinel tokens; they follow the pieces, `<extra_id_0>` last
 * @throws FileFormatError for anything but an intact unigram model with `</s>` and `<pad>`
 */
export function readSentencePieceModel(bytes: Uint8Array, extraIds: number): TokenizerModel {
  const pieces: string[] = [];
  const scores: number[] = [];
  const specialTokens: SpecialToken[] = [];
  let modelType = UNIGRAM;
  let unknownId = 0;
  let charsmap: Uint8Array | undefined;
  for (const field of protobufFields(bytes, FILE)) {
    if (field.number === MODEL.pieces) {
      const { text, score, type } = readPiece(bytesOf(field, 'pieces'), pieces.length);
      if (type === PieceType.unknown || type === PieceType.control || type === PieceType.userDefined) {
        specialTokens.push({ id: pieces.length, text, stripLeft: false, stripRight: false });
      }
      pieces.push(text);
      scores.push(score);
    } else if (field.number === MODEL.trainerSpec) {
      for (const spec of protobufFields(bytesOf(field, 'trainer_spec'), FILE)) {
        if (spec.number === TRAINER.modelType) modelType = integerOf(spec, 'model_type');
        else if (spec.number === TRAINER.unknownId) unknownId = integerOf(spec, 'unk_id');
        else if (spec.number === TRAINER.byteFallback && spec.value !== 0) {
          throw new FileFormatError(`${FILE}: byte_fallback is on; T5's tokenizer is a unigram model without it`);
        }
      }
    } else if (field.number === MODEL.normalizerSpec) {
      for (const spec of protobufFields(bytesOf(field, 'normalizer_spec'), FILE)) {
        if (spec.number === NORMALIZER.precompiledCharsmap) charsmap = bytesOf(spec, 'precompiled_charsmap');
      }
    }
  }
  if (modelType !== UNIGRAM) throw new FileFormatError(`${FILE}: model_type is ${modelType}, expected 1 (unigram)`);
  if (pieces.length === 0) throw new FileFormatError(`${FILE}: no pieces found; not a SentencePiece model`);
  if (unknownId >= pieces.length) {
    throw new FileFormatError(`${FILE}: unk_id is ${unknownId}, expected less than the ${pieces.length} pieces`);
  }
  const endId = pieces.indexOf(END_TOKEN);
  const padId = pieces.indexOf(PAD_TOKEN);
  if (endId < 0 || padId < 0) {
    throw new FileFormatError(
      `${FILE}: no piece ${endId < 0 ? END_TOKEN : PAD_TOKEN}; not the tokenizer of a T5 model`,
    );
  }
  for (let n = extraIds - 1; n >= 0; n--) {
    specialTokens.push({ id: pieces.length, text: `<extra_id_${n}>`, stripLeft: false, stripRight: false });
    pieces.push(`<extra_id_${n}>`);
    scores.push(0);
  }

  const mapChars = charsmap && charsmap.length > 0 ? compileCharsmap(charsmap, FILE) : (text: string) => text;
  return {
    vocabulary: { pieces, scores, unknownId },
    specialTokens,
    normalize: (text) => mapChars(text).replace(TRAILING_SPACE, '').replace(/ {2,}/g, SPACE_MARK),
    prependSpace: 'always',
    splitsWhiteSpace: false,
    endId,
    padId,
  };
}
