import { describe, expect, it } from 'vitest';
import { moduleName, modulePattern } from './module-pattern.ts';

const matches = (key: string, name: string) => modulePattern(key, 'key')(moduleName(name));

describe('modulePattern', () => {
  // As Python's re.match(rf"(.*\.)?({key})$", name) says.
  it.each<[string, string, boolean]>([
    ['q', 'q', true],
    ['q', 'blocks.0.q', true],
    ['q', 'blocks.0.fq', false],
    ['q', 'blocks.q.0', false],
    ['blocks.0.q', 'blocksX0.q', true],
    [String.raw`blocks\.\d\.q`, 'net.blocks.7.q', true],
    [String.raw`blocks\.\d\.q`, 'blocks.11.q', false],
    ['q|k', 'blocks.1.k', true],
    ['q|k', 'blocks.1.kq', false],
    ['^q', 'q', true],
    ['^q', 'blocks.1.q', false],
    ['(a|b)*c', 'x.ababc', true],
    ['(?:blocks\\.)?1{1,2}\\.k', 'blocks.11.k', true],
    ['1{3}', '11', false],
    ['1{,2}', '11', true],
    ['1{2,}', '1', false],
    ['a{b}', 'a{b}', true],
    ['[^a-c\\d]x', 'dx', true],
    ['[^a-c\\d]x', '4x', false],
    ['[]a]', ']', true],
    ['[a-]', '-', true],
    [String.raw`to\-q\_1`, 'to-q_1', true],
    [String.raw`\x71`, 'q', true],
    [String.raw`(?P<kind>q|k)_proj`, 'k_proj', true],
    [String.raw`blocks\.(?!1\.)\d+\.q`, 'blocks.2.q', true],
    [String.raw`blocks\.(?!1\.)\d+\.q`, 'blocks.1.q', false],
    [String.raw`(?<=11\.)k`, 'blocks.11.k', true],
    [String.raw`(?<!11\.)k`, 'blocks.11.k', false],
    [String.raw`\bq\b`, 'a.q', true],
    [String.raw`.*?q`, 'a.b.q', true],
    ['a)|(b', 'ax', true], // the group is closed by the key
    ['', 'blocks.', true],
    ['q(?#a note)', 'q', true],
  ])('%s and %s: %s', (key, name, expected) => {
    expect(matches(key, name)).toBe(expected);
  });

  it.each(['(', ')', 'a**', '[a', '*', 'a{3,2}', '\\', '(?i)q', '(a)\\1', '(?P=a)', 'a*+', '\\y', 'a{9999}'])(
    'refuses %s, naming it',
    (key) => {
      expect(() => modulePattern(key, 'alpha_pattern "k"')).toThrow(
        /^alpha_pattern "k": not a regular expression that/,
      );
    },
  );

  it('takes no time over what makes others backtrack, and gives up on what is too involved', () => {
    const name = 'a'.repeat(400);
    const started = performance.now();
    expect(matches('(a+)+b', name)).toBe(false);
    expect(matches('(a|a)*(a|a)*(a|a)*b', name)).toBe(false);
    expect(() => matches('((?=((?=(a)*b)a|a)*b)a|a)*b', name)).toThrow(/too involved/);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(() => matches('('.repeat(60) + ')'.repeat(60), 'a')).toThrow(/nested deeper/);
  });
});
