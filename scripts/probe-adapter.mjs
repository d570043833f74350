// Run as a child by adapter.mjs, since a broken driver may crash or hang its process.
// Without argument: prints the names of all adapters, as JSON. With a name: opens a device on it and prints what it is.
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const tensor = fileURLToPath(new URL('../packages/tensor/package.json', import.meta.url));
const { create } = await import(pathToFileURL(createRequire(tensor).resolve('webgpu')).href);

/** @param {unknown} value */
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const [name] = process.argv.slice(2);
if (name === undefined) {
  try {
    const gpu = create(['adapter=no adapter has this name']);
    await gpu.requestAdapter();
    print([]);
  } catch (error) {
    // Dawn lists what it has when it does not find what was asked for.
    const listed = String(error instanceof Error ? error.message : error).matchAll(/name: '(.*)'$/gm);
    print([...listed].map((match) => match[1]));
  }
  process.exit(0);
} else {
  const gpu = create([`adapter=${name}`]);
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error('no adapter');
  const device = await adapter.requestDevice();
  print({ description: adapter.info.description, software: adapter.info.isFallbackAdapter });
  device.destroy();
  process.exit(0); // Dawn's threads would keep the process
}
