// Vulkan drivers that are on the machine but not among those that the Vulkan loader takes by itself.
import { existsSync } from 'node:fs';

export interface UnusedDriver {
  readonly name: string;
  /** Its manifest. */
  readonly file: string;
}

const BROWSERS = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/usr/lib64/chromium', '/opt/google/chrome'];

/** SwiftShader comes inside Chromium, where no loader looks. `adapters`: names of those that can be used. */
export function unusedDrivers(adapters: readonly string[], exists = existsSync): UnusedDriver[] {
  if (adapters.some((name) => /swiftshader/i.test(name))) return [];
  const files = BROWSERS.map((folder) => `${folder}/vk_swiftshader_icd.json`);
  return files
    .filter((file) => exists(file))
    .slice(0, 1)
    .map((file) => ({ name: 'SwiftShader', file }));
}
