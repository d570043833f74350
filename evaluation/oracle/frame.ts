// What is in one frame: background, and the things in front of it with colour, place and outline.

/** RGB bytes of one frame, rows from the top. */
export interface Frame {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export type Rgb = readonly [number, number, number];

export interface Thing {
  readonly x: number;
  readonly y: number;
  /** In pixels, edges counted by how much of a pixel is covered. */
  readonly area: number;
  readonly color: Rgb;
  readonly outline: Outline;
}

/** How a shape's parts lie about its centre: what tells circles, squares, triangles, stars and rings apart. */
export interface Outline {
  /** Share of background about the centre. */
  readonly hole: number;
  /** Strength of 3-, 4- and 5-fold symmetry of the outer edge: amplitude of the radius over its mean. */
  readonly symmetry: readonly [three: number, four: number, five: number];
}

/** Colours further apart than this belong to different things; of 441. */
const CONTRAST = 60;
/** Fewer pixels are a speck. */
const LEAST_AREA = 14;
const ANGLES = 60;
/** Radius of the disc that a hole would fill, as a part of the longest radius looked at. */
const HOLE_REACH = 0.1;

export function backgroundOf(frame: Frame): Rgb {
  const channels: number[][] = [[], [], []];
  forEachBorderPixel(frame, (at) => {
    for (let c = 0; c < 3; c++) channels[c]!.push(frame.data[at + c]!);
  });
  return channels.map(median) as unknown as Rgb;
}

/** Largest first. */
export function thingsIn(frame: Frame, background: Rgb = backgroundOf(frame)): Thing[] {
  const { width, height, data } = frame;
  const away = Float32Array.from({ length: width * height }, (_, i) =>
    distance([data[3 * i]!, data[3 * i + 1]!, data[3 * i + 2]!], background),
  );
  const seen = new Uint8Array(away.length);
  const found: number[][] = [];
  for (let start = 0; start < away.length; start++) {
    if (seen[start] || away[start]! < CONTRAST) continue;
    const pixels = flood(away, seen, start, width, height);
    if (pixels.length >= LEAST_AREA) found.push(pixels);
  }
  const things = found.map((pixels) => {
    const others = new Set(found.filter((other) => other !== pixels).flat());
    return describe(frame, pixels, others.size === 0 ? away : away.map((value, p) => (others.has(p) ? 0 : value)));
  });
  return things.sort((a, b) => b.area - a.area);
}

export function distance(a: Rgb, b: Rgb): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

function describe({ data, width, height }: Frame, pixels: readonly number[], away: Float32Array): Thing {
  const strengths = pixels.map((p) => away[p]!).sort((a, b) => b - a);
  // Inner pixels are the ones that differ most; the edge is a mixture.
  const full = strengths[Math.floor(strengths.length * 0.25)]!;
  const core = pixels.filter((p) => away[p]! >= 0.9 * full);
  const color = [0, 1, 2].map((c) => median(core.map((p) => data[3 * p + c]!))) as unknown as Rgb;
  let [area, x, y] = [0, 0, 0];
  const covered = (p: number) => Math.min(1, away[p]! / full);
  for (const p of pixels) {
    const weight = covered(p);
    area += weight;
    x += weight * ((p % width) + 0.5);
    y += weight * (Math.floor(p / width) + 0.5);
  }
  const [cx, cy] = [x / area, y / area];
  const inside = (px: number, py: number): number => {
    // Bilinear between pixel centres.
    const [left, top] = [Math.floor(px - 0.5), Math.floor(py - 0.5)];
    const [u, v] = [px - 0.5 - left, py - 0.5 - top];
    const at = (i: number, j: number) => (i < 0 || j < 0 || i >= width || j >= height ? 0 : covered(j * width + i));
    const upper = at(left, top) * (1 - u) + at(left + 1, top) * u;
    const lower = at(left, top + 1) * (1 - u) + at(left + 1, top + 1) * u;
    return upper * (1 - v) + lower * v;
  };
  const reach = 3 * Math.sqrt(area / Math.PI);
  const radii = Array.from({ length: ANGLES }, (_, i) => {
    const angle = (2 * Math.PI * i) / ANGLES;
    return outerRadius((r) => inside(cx + r * Math.cos(angle), cy + r * Math.sin(angle)), reach);
  });
  const symmetry = [3, 4, 5].map((fold) => harmonic(radii, fold)) as [number, number, number];
  return { x: cx, y: cy, area, color, outline: { hole: 1 - meanNear(cx, cy, HOLE_REACH * reach, inside), symmetry } };
}

/** Over a disc, in steps of half a pixel. */
function meanNear(cx: number, cy: number, radius: number, value: (x: number, y: number) => number): number {
  let [sum, count] = [0, 0];
  for (let dy = -radius; dy <= radius; dy += 0.5)
    for (let dx = -radius; dx <= radius; dx += 0.5) {
      if (Math.hypot(dx, dy) > radius) continue;
      sum += value(cx + dx, cy + dy);
      count++;
    }
  return sum / count;
}

/** The furthest distance, in steps of a quarter pixel, at which the ray is still half inside. */
function outerRadius(inside: (r: number) => number, reach: number): number {
  let r = reach;
  while (r > 0 && inside(r) < 0.5) r -= 0.25;
  return r;
}

function harmonic(radii: readonly number[], fold: number): number {
  let [cos, sin, sum] = [0, 0, 0];
  radii.forEach((r, i) => {
    const angle = (2 * Math.PI * fold * i) / radii.length;
    cos += r * Math.cos(angle);
    sin += r * Math.sin(angle);
    sum += r;
  });
  return sum === 0 ? 0 : (2 * Math.hypot(cos, sin)) / sum;
}

function flood(away: Float32Array, seen: Uint8Array, start: number, width: number, height: number): number[] {
  const pixels: number[] = [];
  const open = [start];
  seen[start] = 1;
  while (open.length > 0) {
    const p = open.pop()!;
    pixels.push(p);
    const [px, py] = [p % width, Math.floor(p / width)];
    for (let dy = -1; dy <= 1; dy++)
      for (let dx = -1; dx <= 1; dx++) {
        const [nx, ny] = [px + dx, py + dy];
        if (nx < 0 || ny < 0 || nx >= width || ny >= height) continue;
        const next = ny * width + nx;
        if (seen[next] || away[next]! < CONTRAST) continue;
        seen[next] = 1;
        open.push(next);
      }
  }
  return pixels;
}

function forEachBorderPixel({ width, height }: Frame, visit: (offset: number) => void): void {
  for (let x = 0; x < width; x++) for (const y of [0, height - 1]) visit(3 * (y * width + x));
  for (let y = 1; y < height - 1; y++) for (const x of [0, width - 1]) visit(3 * (y * width + x));
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
