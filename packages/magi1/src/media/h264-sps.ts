// Adds colour tags to an H.264 sequence parameter set that has none (ITU-T H.264, 7.3.2.1.1 and annex E.1.1).
// Only what the WebAssembly encoder emits is understood: Baseline, Main or Extended profile, picture order count 0 or 2.
import { Magi1Error } from '@magi1/tensor';
import { COLOUR } from './yuv.ts';

class BitReader {
  #bit = 0;
  readonly #bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get position(): number {
    return this.#bit;
  }
  bits(count: number): number {
    let value = 0;
    for (let i = 0; i < count; i++, this.#bit++) {
      const byte = this.#bytes[this.#bit >> 3];
      if (byte === undefined) throw new Magi1Error('H.264 sequence parameter set: ends too early');
      value = value * 2 + ((byte >> (7 - (this.#bit & 7))) & 1);
    }
    return value;
  }
  /** Unsigned Exp-Golomb code. */
  ue(): number {
    let zeros = 0;
    while (this.bits(1) === 0) zeros++;
    return 2 ** zeros - 1 + this.bits(zeros);
  }
}

class BitWriter {
  readonly #bits: number[] = [];
  bits(value: number, count: number): void {
    for (let i = count - 1; i >= 0; i--) this.#bits.push((value >> i) & 1);
  }
  ue(value: number): void {
    const length = Math.floor(Math.log2(value + 1));
    this.bits(0, length);
    this.bits(value + 1, length + 1);
  }
  /** rbsp_trailing_bits, then whole bytes. */
  finish(): Uint8Array {
    this.bits(1, 1);
    while (this.#bits.length % 8 !== 0) this.#bits.push(0);
    const bytes = new Uint8Array(this.#bits.length / 8);
    this.#bits.forEach((bit, i) => (bytes[i >> 3]! |= bit << (7 - (i & 7))));
    return bytes;
  }
}

/** Removes or adds the 0x03 bytes that keep start codes out of a NAL unit's payload. */
function unescape(nal: Uint8Array): Uint8Array {
  return Uint8Array.from(nal.filter((byte, i) => !(byte === 3 && i >= 2 && nal[i - 1] === 0 && nal[i - 2] === 0)));
}

function escape(payload: Uint8Array): Uint8Array {
  const out: number[] = [];
  let zeros = 0;
  for (const byte of payload) {
    if (zeros >= 2 && byte <= 3) {
      out.push(3);
      zeros = 0;
    }
    out.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return Uint8Array.from(out);
}

/** The same parameter set (a NAL unit with its header byte, no start code) with the colour of yuv.ts declared in its VUI. */
export function tagSps(sps: Uint8Array): Uint8Array {
  const raw = unescape(sps);
  const reader = new BitReader(raw);
  if ((reader.bits(8) & 31) !== 7) throw new Magi1Error('H.264 sequence parameter set: another NAL unit came instead');
  const profile = reader.bits(8);
  if (![66, 77, 88].includes(profile)) {
    throw new Magi1Error(`H.264 sequence parameter set: profile 66, 77 or 88 expected, got ${profile}`);
  }
  reader.bits(16); // constraint flags, level
  reader.ue(); // seq_parameter_set_id
  reader.ue(); // log2_max_frame_num_minus4
  const orderType = reader.ue();
  if (orderType === 0) reader.ue();
  else if (orderType === 1)
    throw new Magi1Error('H.264 sequence parameter set: pic_order_cnt_type 0 or 2 expected, got 1');
  reader.ue(); // max_num_ref_frames
  reader.bits(1); // gaps_in_frame_num_value_allowed_flag
  reader.ue(); // width
  reader.ue(); // height
  if (reader.bits(1) === 0) reader.bits(1); // frame_mbs_only_flag, mb_adaptive_frame_field_flag
  reader.bits(1); // direct_8x8_inference_flag
  if (reader.bits(1) === 1) for (let i = 0; i < 4; i++) reader.ue(); // frame_cropping
  const kept = reader.position;
  if (reader.bits(1) === 1) throw new Magi1Error('H.264 sequence parameter set: it has a VUI already');

  const writer = new BitWriter();
  const again = new BitReader(raw);
  for (let i = 0; i < kept; i++) writer.bits(again.bits(1), 1);
  writer.bits(1, 1); // vui_parameters_present_flag
  writer.bits(0, 2); // aspect_ratio_info_present_flag, overscan_info_present_flag
  writer.bits(1, 1); // video_signal_type_present_flag
  writer.bits(5, 3); // video_format: unspecified
  writer.bits(COLOUR.fullRange ? 1 : 0, 1);
  writer.bits(1, 1); // colour_description_present_flag
  writer.bits(COLOUR.primaries, 8);
  writer.bits(COLOUR.transfer, 8);
  writer.bits(COLOUR.matrix, 8);
  writer.bits(1, 1); // chroma_loc_info_present_flag
  writer.ue(COLOUR.chromaLocation);
  writer.ue(COLOUR.chromaLocation);
  writer.bits(0, 5); // timing, nal_hrd, vcl_hrd, pic_struct, bitstream_restriction
  return escape(writer.finish());
}
