// Unigram segmentation: the split of a word into pieces with the highest sum of log probabilities (Viterbi).

/** Log probability of a character that no piece covers, below the worst piece. */
const UNKNOWN_PENALTY = 10;

export interface UnigramVocabulary {
  /** Pieces by id. */
  readonly pieces: readonly string[];
  /** Log probabilities by id. */
  readonly scores: readonly number[];
  readonly unknownId: number;
}

/** Returns a function from a word to the ids of its best split; neighbouring unknown characters become one unknown id. */
export function compileUnigram({ pieces, scores, unknownId }: UnigramVocabulary): (word: string) => number[] {
  const ids = new Map(pieces.map((piece, id) => [piece, id]));
  const longest = pieces.reduce((length, piece) => Math.max(length, piece.length), 0);
  const unknownScore = scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;

  return (word) => {
    // Per end position (UTF-16 units): the best path's score, its last piece and where that starts; -1 = not reached.
    const bestScore = new Float64Array(word.length + 1);
    const bestId = new Int32Array(word.length + 1);
    const bestStart = new Int32Array(word.length + 1).fill(-1);
    const offer = (start: number, end: number, id: number, score: number): void => {
      const total = score + (bestScore[start] ?? 0);
      if (bestStart[end] !== -1 && total <= (bestScore[end] ?? 0)) return;
      bestScore[end] = total;
      bestId[end] = id;
      bestStart[end] = start;
    };
    for (let start = 0; start < word.length;) {
      const charEnd = start + ((word.codePointAt(start) ?? 0) > 0xffff ? 2 : 1);
      let coversChar = false;
      for (let end = start + 1; end <= Math.min(word.length, start + longest); end++) {
        const id = ids.get(word.slice(start, end));
        if (id === undefined) continue;
        offer(start, end, id, scores[id] ?? 0);
        if (end === charEnd) coversChar = true;
      }
      if (!coversChar) offer(start, charEnd, unknownId, unknownScore);
      start = charEnd;
    }
    const path: number[] = [];
    for (let end = word.length; end > 0; end = bestStart[end] ?? 0) {
      const id = bestId[end] ?? unknownId;
      if (id !== unknownId || path.at(-1) !== unknownId) path.push(id);
    }
    return path.reverse();
  };
}
