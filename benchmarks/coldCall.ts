// One cold call, in a process of its own: cold.ts starts it with a build's root, device options, an op and a case, and
// reads the processor time of the first call, in milliseconds, from its output.
import type { DeviceOptions } from '@magi1/tensor';
import { chosenCases, loadBuild } from './builds.ts';
import { uploadInputs } from './inputs.ts';

const [root, options, opName, caseName] = process.argv.slice(2) as [string, string, string, string];
const build = await loadBuild(root);
const { op, opCase } = chosenCases(build, { opNames: [opName] }).find((entry) => entry.opCase.name === caseName)!;
const device = await build.tensor.Device.open(JSON.parse(options) as DeviceOptions);
const inputs = uploadInputs(device, opCase);
await device.sync();
const start = process.cpuUsage();
// Builds from before an op had one output return a list.
for (const y of [build.tensor.runOp(op, inputs, opCase.params)].flat()) await y.read();
const { user, system } = process.cpuUsage(start);
process.stdout.write(String((user + system) / 1e3));
// Software adapters leave threads behind.
process.exit(0);
