// The devices that tests run on: wasm, and every adapter in MAGI1_TEST_ADAPTERS (a comma list of names), or the software
// adapters installed here. MAGI1_NO_WEBGPU=1 leaves WebGPU out.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Device } from '@magi1/tensor';
import type { DeviceOptions } from '@magi1/tensor';

export interface TestDevice {
  readonly name: string;
  readonly open: (options?: DeviceOptions) => Promise<Device>;
}

const VULKAN_DRIVERS = '/usr/share/vulkan/icd.d';
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

/** Opens nothing. Call it before anything opens WebGPU: it chooses the Vulkan drivers of this process. */
export function testDevices(): TestDevice[] {
  const wasm: TestDevice = { name: 'wasm', open: (options) => Device.open({ ...options, backend: 'wasm' }) };
  const adapters = testAdapters().map((adapter) => ({
    name: adapter,
    open: (options?: DeviceOptions) => Device.open({ ...options, backend: 'webgpu', adapter }),
  }));
  // Kernels for hardware are tested on the better of the software adapters.
  const asHardware = adapters
    .filter(({ name }) => name === 'llvmpipe')
    .map(({ name, open }) => ({
      name: `${name} as hardware`,
      open: (options?: DeviceOptions) => open({ ...options, assumeHardware: true }),
    }));
  return [wasm, ...adapters, ...asHardware];
}

/** The best WebGPU adapter to test on: a GPU, or lavapipe. @throws Error where there is none */
export function firstWebGpuDevice(): TestDevice {
  const [first] = testAdapters();
  const device = testDevices().find(({ name }) => name === first);
  if (device === undefined) throw new Error('no WebGPU adapter was found; MAGI1_NO_WEBGPU=1 leaves these tests out');
  return device;
}

/** Names of the WebGPU adapters to test on. */
export function testAdapters(): string[] {
  if (process.env['MAGI1_NO_WEBGPU'] === '1') return [];
  const wanted = process.env['MAGI1_TEST_ADAPTERS'];
  const lavapipe = existsSync(VULKAN_DRIVERS)
    ? readdirSync(VULKAN_DRIVERS)
        .filter((name) => name.startsWith('lvp_icd'))
        .map((name) => join(VULKAN_DRIVERS, name))
    : [];
  const swiftShader = existsSync(SWIFTSHADER) ? [SWIFTSHADER] : [];
  if (wanted !== undefined) {
    if (swiftShader.length > 0) process.env['VK_ADD_DRIVER_FILES'] ??= SWIFTSHADER;
    return wanted
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
  }
  const drivers = (process.env['VK_DRIVER_FILES'] ??= [...lavapipe, ...swiftShader].join(':'));
  return [
    ...(drivers.includes('lvp_icd') ? ['llvmpipe'] : []),
    ...(drivers.includes('swiftshader') ? ['SwiftShader'] : []),
  ];
}
