// The weights of the predictions in guidance.
export interface GuidanceParams {
  readonly prevScale: number;
  readonly textScale: number;
}

/** What each prediction is multiplied by. One with weight 0 is not read. */
export function guidanceWeights({ prevScale, textScale }: GuidanceParams): {
  readonly alone: number;
  readonly nullText: number;
  readonly caption: number;
} {
  return { alone: 1 - prevScale, nullText: prevScale - textScale, caption: textScale };
}
