// Every golden on wasm.
import { Device } from '@magi1/tensor';
import { conformanceSuite } from './support/conformance-suite.ts';

await conformanceSuite('wasm', () => Device.open({ backend: 'wasm' }));
