// Shapes for random cases.

/** `rank` dimensions of at least 1 with at most `most` elements; all 1 when `random` gives zeros. */
export function randomShape(random: (below: number) => number, rank: number, most: number): number[] {
  const shape: number[] = [];
  let left = most;
  for (let axis = 0; axis < rank; axis++) {
    const dim = 1 + random(Math.max(1, Math.min(left, Math.ceil(2 * left ** (1 / (rank - axis))))));
    shape.push(dim);
    left = Math.floor(left / dim);
  }
  return shape;
}
