// All that the rest of the program sees of the rooms.
export { prelu, preluOp } from './prelu/index.ts';
export { softArgmax, softArgmaxOp } from './soft-argmax/index.ts';
