// Names for what the oracle sees: the colours and shapes of the pocket model's data world (training/pocket/palette.py).
import { distance } from './frame.ts';
import type { Outline, Rgb } from './frame.ts';

export const COLORS = {
  red: [222, 38, 38],
  orange: [250, 140, 20],
  yellow: [250, 228, 50],
  green: [40, 180, 70],
  blue: [45, 95, 235],
  purple: [150, 60, 200],
  pink: [250, 130, 190],
  white: [245, 245, 245],
} as const satisfies Record<string, Rgb>;

export const BACKGROUNDS = {
  black: [12, 12, 12],
  gray: [112, 112, 112],
  navy: [20, 28, 84],
  brown: [92, 62, 40],
  teal: [14, 78, 78],
} as const satisfies Record<string, Rgb>;

export type ColorName = keyof typeof COLORS;
export type BackgroundName = keyof typeof BACKGROUNDS;
export type ShapeName = 'circle' | 'square' | 'triangle' | 'star' | 'ring';

export function nearestName<T extends string>(color: Rgb, table: Readonly<Record<T, Rgb>>): T {
  const names = Object.keys(table) as T[];
  return names.reduce((best, name) => (distance(color, table[name]) < distance(color, table[best]) ? name : best));
}

/** An empty centre makes a ring; else the strongest symmetry of the outline names the shape, and none at all a circle. */
export function shapeName({ hole, symmetry: [three, four, five] }: Outline): ShapeName {
  if (hole > 0.5) return 'ring';
  const strongest = Math.max(three, four, five);
  if (strongest < 0.045) return 'circle';
  if (strongest === three) return 'triangle';
  return strongest === four ? 'square' : 'star';
}
