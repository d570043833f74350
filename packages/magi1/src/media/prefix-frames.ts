// How many frames of a video can be a prefix. The VAE encodes a prefix in tiles of half a second, and a tile makes one
// latent frame of every 4 frames: what is left over at the end of a tile has no latent frame to go to.

/** Frames per latent frame. */
const PER_LATENT = 4;

export interface UsablePrefix {
  /** Frames that count, from the end that is continued; 0 when there is no such prefix. */
  readonly used: number;
  /** Latent frames they become. */
  readonly latentFrames: number;
  /** Why not all frames are used, in one line; undefined when all are. */
  readonly note?: string;
}

/**
 * How many of `count` frames, at `fps` frames per second, a prefix can use. A single frame after whole tiles is a latent
 * frame of its own (an image). 2 or 3 frames there make the original fail; here they are left out, as are other
 * remainders, which the original drops without a word: at the end, or at the start where the end is to be continued.
 */
export function usablePrefixFrames(count: number, fps: number, from: 'start' | 'end' = 'start'): UsablePrefix {
  const tile = Math.floor(fps / 2);
  if (!Number.isInteger(count) || count < 0) return none(`a whole number of prefix frames expected, got ${count}`);
  if (count === 0) return none('there are no frames');
  if (!(tile >= PER_LATENT && tile < Infinity))
    return none(`a prefix needs at least ${2 * PER_LATENT} frames per second, got ${fps}: tiles last half a second`);
  const whole = Math.floor(count / tile);
  const tail = count % tile;
  const latentFrames = whole * latentsOf(tile) + latentsOf(tail);
  const tailUsed = tail === 1 ? 1 : tail - (tail % PER_LATENT);
  const used = whole * tile + tailUsed;
  const lostInTiles = tile % PER_LATENT;
  if (used === 0)
    return none(`${count} frames are too few for a prefix: a latent frame takes ${PER_LATENT} frames, or a single one`);
  const notes: string[] = [];
  if (used < count)
    notes.push(
      `the ${from === 'start' ? 'last' : 'first'} ${count - used} of ${count} prefix frames are left out: ` +
        `frames go by ${PER_LATENT} from the start of each tile of ${tile}` +
        (tail < PER_LATENT ? ' (the original fails at this length)' : ''),
    );
  if (lostInTiles > 0 && whole > 0)
    notes.push(
      `the last ${lostInTiles} of every ${tile} prefix frames are not seen: at ${fps} frames per second a tile is not a multiple of ${PER_LATENT} frames`,
    );
  return { used, latentFrames, ...(notes.length > 0 ? { note: notes.join('; ') } : {}) };
}

const none = (note: string): UsablePrefix => ({ used: 0, latentFrames: 0, note });

/** Latent frames of one tile of `frames` frames. */
const latentsOf = (frames: number): number => (frames === 1 ? 1 : Math.floor(frames / PER_LATENT));
