// The export line: all that the rest of the program sees of the room.
export * from './prelu/index.ts';
