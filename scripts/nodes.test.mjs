// Which Node the tests run on besides the running one.
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ensureNode, knownNode, NODES, QUICK_SET, secondNode, withNode } from './nodes.mjs';
import { ROOT } from './processes.mjs';

describe('the second Node', () => {
  it('is 24, or the oldest where everything ran on 24', () => {
    expect([...Object.keys(NODES), '23'].map((major) => NODES[secondNode(major)])).toEqual(
      [...Object.keys(NODES), '23'].map((major) => NODES[major === '24' ? 20 : 24]),
    );
    expect(NODES[20]).toMatch(/^20\.19\./);
  });

  it('is asked for by a major version that is known', () => {
    expect(knownNode('22')).toBe('22');
    for (const major of [undefined, '18', '22.1', 'constructor', '--no-webgpu'])
      expect(() => knownNode(major)).toThrow(/--node takes one of 20, 22, 24, 26, got/);
  });

  it('is undefined, and nothing is fetched, where npm has none for the platform', async () => {
    expect(await ensureNode(24, 'plan9 mips')).toBeUndefined();
  });

  it('comes first on the path', () => {
    const binary = join(ROOT, 'bin', 'node');
    expect(withNode(binary, { PATH: 'a', HOME: 'b' })).toEqual({ PATH: `${dirname(binary)}${delimiter}a`, HOME: 'b' });
    expect(withNode(binary, { Path: 'a' })).toEqual({ Path: `${dirname(binary)}${delimiter}a` });
    expect(withNode(binary, {})).toEqual({ PATH: dirname(binary) });
  });

  it('runs files that exist', () => {
    expect(QUICK_SET.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });
});
