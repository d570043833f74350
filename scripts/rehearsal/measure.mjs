// Loaded before a program (node --import): when that ends, writes what it took, as JSON, into the file that
// MAGI1_REHEARSAL_FACTS names.
import { writeFileSync } from 'node:fs';
import { ProcessMeter } from './meter.mjs';

const { MAGI1_REHEARSAL_FACTS: path = '' } = process.env;
const meter = new ProcessMeter();
process.on('exit', () => writeFileSync(path, JSON.stringify(meter.take())));
