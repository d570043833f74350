// Scores of rendered clips, whose contents are known, and the table of results.
import { describe, expect, test } from 'vitest';
import { cut, heldOutClips, heldOutPrompts, isDirection } from './prompts.ts';
import { scoreClip } from './score.ts';
import { judge, line, markdown, means } from './table.ts';

const clips = heldOutClips();
const prompts = heldOutPrompts();

describe('scoreClip', () => {
  test('finds everything in a clip of its own prompt', () => {
    for (const [i, clip] of clips.entries()) {
      const prompt = prompts[i]!;
      const moving = prompt.objects.some(({ kind }) => isDirection(kind));
      const all = { color: true, shape: true, count: true, ...(moving && { direction: true }) };
      expect(scoreClip(cut(clip, 0, 48), prompt), prompt.prompt).toEqual(all);
    }
  });

  test('misses what another prompt asks for', () => {
    const [clip] = clips;
    const [own] = prompts;
    const thing = own!.objects[0]!;
    const score = (objects: (typeof own & object)['objects']) => scoreClip(cut(clip!, 0, 48), { ...own!, objects });
    expect(score([{ ...thing, color: thing.color === 'red' ? 'blue' : 'red' }]).color).toBe(false);
    expect(score([{ ...thing, shape: thing.shape === 'star' ? 'square' : 'star' }]).shape).toBe(false);
    expect(score([{ ...thing, kind: thing.kind === 'up' ? 'down' : 'up' }]).direction).toBe(false);
    expect(score([thing, thing]).count).toBe(false);
  });
});

describe('the table', () => {
  const results = [{ name: 'a', what: 'b', clips: [{ colour: 1, PSNR: 30 }, { colour: 0 }] }];
  const goals = [
    { column: 'a', value: 'colour', least: 0.5 },
    { column: 'a', value: 'PSNR', least: 31 },
    { column: 'c', value: 'colour', least: 0 },
  ];

  test('shows means of what was measured', () => {
    expect([...means(results[0]!.clips)]).toEqual([
      ['colour', 0.5],
      ['PSNR', 30],
    ]);
    expect(line(results[0]!)).toBe('a (2 clips): colour 50.0 %, PSNR 30.0 dB');
  });

  test('shows times by median, least and most', () => {
    const clips = [{ time: 4 }, { time: 2.04 }, { time: 9 }];
    expect(line({ name: 'a', what: 'b', clips })).toBe('a (3 clips): time 4.0 s (2.0 to 9.0)');
  });

  test('a goal is met only by a value that was measured', () => {
    const verdicts = judge(goals, results);
    expect(verdicts.map(({ met }) => met)).toEqual([true, false, false]);
    expect(markdown(results, verdicts, 'Here.')).toContain('| a | PSNR | 31.0 dB | 30.0 dB | missed |');
  });
});
