// The small parts of the command line: what reaches the terminal, option names, device options, drivers.
import { Device } from '@magi1/tensor';
import { describe, expect, it, vi } from 'vitest';
import { parseCommand } from './command.ts';
import { deviceOptions, loraOptions } from './model-options.ts';
import { unusedDrivers } from './drivers.ts';
import { generate } from './generate.ts';
import { info } from './info.ts';
import { printable, printableLines } from './printable.ts';

it('info gives its device back where the model cannot be read', async () => {
  const device = await Device.open({ backend: 'reference' });
  const dispose = vi.spyOn(device, 'dispose');
  const open = vi.spyOn(Device, 'open');
  open.mockImplementation(({ backend } = {}) =>
    backend === 'reference' ? Promise.resolve(device) : Promise.reject(new Error('not looked at')),
  );
  try {
    await expect(info.run({ device: 'reference', model: '/nowhere' }, [])).rejects.toThrow('/nowhere: does not exist');
    expect(dispose).toHaveBeenCalledOnce();
  } finally {
    open.mockRestore();
  }
});

describe('printable', () => {
  it.each([
    ['an escape sequence', 'a\u001b[2Jb', 'a\\u001b[2Jb'],
    ['one of eight bits', '\u009b31m', '\\u009b31m'],
    ['line breaks and a return', 'a\r\nb', 'a\\u000d\\u000ab'],
    ['text turned around', 'a\u202egnp.mp4', 'a\\u202egnp.mp4'],
    ['nothing else', 'Füße, 東京, 🎬 "x" \\n', 'Füße, 東京, 🎬 "x" \\n'],
  ])('shows %s', (_, text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it('leaves JSON the same JSON', () => {
    const value = { name: 'a\u001b]0;title\u0007\u009b\u202e\u007f', list: ['x\ny'] };
    const text = printableLines(JSON.stringify(value, null, 2));
    expect(text).not.toMatch(/[\u007f-\u009f\u202e]/);
    expect(JSON.parse(text)).toEqual(value);
  });
});

describe('names that every object has', () => {
  it.each(['constructor', '__proto__', 'toString', 'no_such_option'])('--%s is an unknown option', (name) => {
    for (const args of [[`--${name}=1`], [`--${name}`, '-1']])
      expect(() => parseCommand(generate, args)).toThrow(`Unknown option '--${name}' (magi1 generate --help`);
  });

  it('are no units', () => {
    expect(() => deviceOptions({ 'memory-budget': '1constructor' })).toThrow('--memory-budget: bytes expected');
    expect(deviceOptions({ 'memory-budget': '1.5KiB' })).toMatchObject({ memoryBudget: 1536 });
  });
});

it('--lora takes any way to write a number as its weight', () => {
  const weights = ['a', 'a:0.5', 'a:-.5', 'a:1e-3', 'a:2E1', 'C:\\a'].map((given) => loraOptions({ lora: [given] })[0]);
  expect(weights.map((spec) => spec?.weight)).toEqual([1, 0.5, -0.5, 0.001, 20, 1]);
  expect(weights.at(-1)?.source).toBe('C:\\a');
});

it.each(['webgpu', 'reference'])('--threads is refused for %s', (device) => {
  expect(() => deviceOptions({ device, threads: '2' })).toThrow(
    `--threads is for the wasm device, but --device is ${device}`,
  );
  expect(deviceOptions({ device: 'wasm', threads: '2' })).toMatchObject({ threads: 2 });
});

it('SwiftShader inside Chromium is found where no adapter is it', () => {
  const file = '/usr/lib/chromium/vk_swiftshader_icd.json';
  const exists = (path: unknown) => path === file;
  expect(unusedDrivers(['llvmpipe (LLVM 15.0.6, 256 bits)'], exists)).toEqual([{ name: 'SwiftShader', file }]);
  expect(unusedDrivers(['SwiftShader Device (Subzero)'], exists)).toEqual([]);
  expect(unusedDrivers([], () => false)).toEqual([]);
});
