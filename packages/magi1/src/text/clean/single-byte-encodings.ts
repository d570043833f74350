// The single-byte encodings that UTF-8 text is most often misread in: what bytes 0x80-0xff stand for in each.

export interface SingleByteEncoding {
  readonly name: string;
  /** Byte 0x1a stands for U+FFFD, so that text which already lost characters can still be encoded. */
  readonly lossy: boolean;
  /** Byte of each character. */
  readonly bytes: ReadonlyMap<string, number>;
  /** Character of each byte 0x80-0xff; unassigned bytes stand for the C1 control of the same number. */
  readonly high: string;
}

const C1 = Array.from({ length: 32 }, (_, i) => String.fromCharCode(0x80 + i)).join('');
const LATIN1_HIGH = C1 + Array.from({ length: 96 }, (_, i) => String.fromCharCode(0xa0 + i)).join('');

const TABLES: { name: string; lossy: boolean; high: string }[] = [
  { name: 'latin-1', lossy: false, high: LATIN1_HIGH },
  {
    name: 'windows-1252',
    lossy: true,
    high:
      '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿' +
      'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ',
  },
  {
    name: 'windows-1251',
    lossy: true,
    high:
      'ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\x98™љ›њќћџ\xa0ЎўЈ¤Ґ¦§Ё©Є«¬\xad®Ї°±Ііґµ¶·ё№є»јЅѕї' +
      'АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя',
  },
  {
    name: 'windows-1250',
    lossy: true,
    high:
      '€\x81‚\x83„…†‡\x88‰Š‹ŚŤŽŹ\x90‘’“”•–—\x98™š›śťžź\xa0ˇ˘Ł¤Ą¦§¨©Ş«¬\xad®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż' +
      'ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙',
  },
  {
    name: 'windows-1253',
    lossy: true,
    high:
      '€\x81‚ƒ„…†‡\x88‰\x8a‹\x8c\x8d\x8e\x8f\x90‘’“”•–—\x98™\x9a›\x9c\x9d\x9e\x9f\xa0΅Ά£¤¥¦§¨©ª«¬\xad®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ' +
      'ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ',
  },
  {
    name: 'windows-1254',
    lossy: true,
    high:
      '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8d\x8e\x8f\x90‘’“”•–—˜™š›œ\x9d\x9eŸ\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿' +
      'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ',
  },
  {
    name: 'iso-8859-2',
    lossy: false,
    high:
      C1 +
      '\xa0Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\xadŽŻ°ą˛ł´ľśˇ¸šşťź˝žż' +
      'ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙',
  },
  {
    name: 'macroman',
    lossy: false,
    high:
      'ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø' +
      '¿¡¬√ƒ≈∆«»…\xa0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uf8ffÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ',
  },
  {
    name: 'cp437',
    lossy: false,
    high:
      'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐' +
      '└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\xa0',
  },
];

function encodingOf({ name, lossy, high }: (typeof TABLES)[number]): SingleByteEncoding {
  const bytes = new Map<string, number>();
  for (let byte = 0; byte < 0x80; byte++) bytes.set(String.fromCharCode(byte), byte);
  for (let i = 0; i < high.length; i++) bytes.set(high.charAt(i), 0x80 + i);
  if (lossy) {
    bytes.delete('\x1a');
    bytes.set('\ufffd', 0x1a);
  }
  return { name, lossy, bytes, high };
}

/** In the order in which they are to be tried. */
export const SINGLE_BYTE_ENCODINGS: readonly SingleByteEncoding[] = TABLES.map(encodingOf);

/** The bytes of `text` as a string of chars 0-255, or undefined if the encoding lacks a character. */
export function encodeSingleByte(text: string, encoding: SingleByteEncoding): string | undefined {
  let bytes = '';
  for (const char of text) {
    const byte = encoding.bytes.get(char);
    if (byte === undefined) return undefined;
    bytes += String.fromCharCode(byte);
  }
  return bytes;
}
