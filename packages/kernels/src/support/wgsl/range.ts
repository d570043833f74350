/** 0 .. count-1, to unroll a loop in the text of a program. */
export const range = (count: number): number[] => [...Array(count).keys()];
