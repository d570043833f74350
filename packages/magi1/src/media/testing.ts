// Support for the tests of this folder: a moving, coloured clip, and ffmpeg's view of a file.
import { execFileSync } from 'node:child_process';

/** Frames [count, height, width, 3] from `start` on: drifting colour waves and a bright disc that crosses them. */
export function movingClip(width: number, height: number, count: number, start = 0): Uint8Array {
  const out = new Uint8Array(count * height * width * 3);
  let at = 0;
  for (let t = start; t < start + count; t++) {
    const discX = width * (0.5 + 0.35 * Math.cos(t / 6));
    const discY = height * (0.5 + 0.35 * Math.sin(t / 6));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        // Soft edges: ffmpeg's default decode repeats chroma over 2x2 pixels, which bounds what any 4:2:0 file can reach.
        const disc = 1 / (1 + Math.exp((Math.hypot(x - discX, y - discY) - width / 8) / 2.5));
        const waves = [
          Math.sin(x * 0.07 + t / 5),
          Math.sin(y * 0.06 - t / 7 + 2),
          Math.sin((x + y) * 0.05 + t / 9 + 4),
        ];
        const colour = [250, 40, 90];
        for (let c = 0; c < 3; c++) {
          out[at++] = Math.round((127.5 + 120 * waves[c]!) * (1 - disc) + colour[c]! * disc);
        }
      }
    }
  }
  return out;
}

/** Peak signal to noise ratio of 8-bit values, in dB. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  if (a.length !== b.length) throw new Error(`psnr: ${a.length} bytes against ${b.length}`);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.length));
}

/** Every frame of a video as RGB; ffmpeg goes by the file's own colour tags. */
export function decode(path: string): Uint8Array {
  const args = ['-v', 'error', '-i', path, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'];
  return execFileSync('ffmpeg', args, { maxBuffer: 2 ** 30 });
}

/** Selected facts of the video stream, with the frames counted by decoding them. */
export function probe(path: string): Record<string, string> {
  const entries =
    'stream=codec_name,width,height,pix_fmt,r_frame_rate,avg_frame_rate,nb_frames,nb_read_frames,' +
    'color_range,color_space,color_transfer,color_primaries,chroma_location,duration';
  const args = [
    '-v',
    'error',
    '-count_frames',
    '-select_streams',
    'v:0',
    '-show_entries',
    entries,
    '-of',
    'json',
    path,
  ];
  const { streams } = JSON.parse(execFileSync('ffprobe', args, { encoding: 'utf8' })) as {
    streams: Record<string, string>[];
  };
  return streams[0]!;
}
