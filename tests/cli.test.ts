// The command line program as users run it: built, in a process of its own, with the tiny model.
import { execFileSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findFfmpeg, loadImage } from '@magi1/core';
import { seededNoise } from '@magi1/core/model';
import { writeSafetensors } from '@magi1/loaders';
import type { HostTensor } from '@magi1/tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import { REPOSITORY, TINY_MODEL, runCli, runNode } from './support/cli.ts';
import { copyTinyModel, editConfig, temporaryFolder } from './support/tiny-model.ts';

const BACKEND = 'wasm';
const folder = temporaryFolder();
const out = (name: string) => join(folder, name);
const SMALL = ['--prompt', 'a cat', '--height', '32', '--width', '32', '--num-frames', '24', '--device', BACKEND];
const generate = (output: string, ...more: string[]) => [
  'generate',
  '--model',
  TINY_MODEL,
  '--output',
  output,
  ...SMALL,
  ...more,
];

const long = (output: string) => generate(output).map((arg) => (arg === '24' ? '480' : arg));

let ffmpeg: boolean;
beforeAll(async () => {
  ffmpeg = !('unusable' in (await findFfmpeg()));
});

/** Frames that a player finds, where there is one to ask. */
function countFrames(path: string): number {
  const args = [
    '-v',
    'error',
    '-count_frames',
    '-show_entries',
    'stream=width,height,nb_read_frames',
    '-of',
    'json',
    path,
  ];
  const { streams } = JSON.parse(execFileSync('ffprobe', args, { encoding: 'utf8' })) as {
    streams: { width: number; height: number; nb_read_frames: string }[];
  };
  expect(streams[0]).toMatchObject({ width: 32, height: 32 });
  return Number(streams[0]!.nb_read_frames);
}

describe('generate', () => {
  it('writes an mp4 and what made it', async () => {
    const { status, stdout, stderr } = await runCli(generate(out('clip.mp4'), '--seed', '-3'));
    expect(stderr).toMatch(/^100% decoding: chunk 1 of 1, done$/m);
    expect(status).toBe(0);
    expect(stdout).toContain(out('clip.mp4'));
    expect(stdout).toMatch(/24 frames, 32x32, 24 fps, seed -3/);
    expect(stdout).toMatch(new RegExp(`\\(${BACKEND}; asked for\\)`));
    expect(stdout).toMatch(
      /time +loading .*, text .*, denoising .*, decoding .*; [1-9]\S* \S+ in all|; 0\.\d\d s in all/,
    );
    expect(stdout).toMatch(/work +1 chunk in 8 steps: the transformer ran 20 times over a chunk, 4 times fewer/);
    expect(stdout).toMatch(/memory +\d.* at most on the device, \d.* in the whole process/);
    if (ffmpeg) expect(countFrames(out('clip.mp4'))).toBe(24);
    expect(readFileSync(out('clip.mp4')).subarray(4, 8).toString()).toBe('ftyp');
    expect(JSON.parse(readFileSync(out('clip.mp4.json'), 'utf8'))).toMatchObject({
      output: out('clip.mp4'),
      complete: true,
      prompt: 'a cat',
      settings: { seed: -3, height: 32, width: 32, frames: 24, numInferenceSteps: 8 },
      device: { backend: BACKEND },
    });
  });

  it('shows where the time went, and writes a trace', async () => {
    const trace = out('trace.json');
    const profiled = [...generate(out('profiled')), '--profile', trace];
    const { status, stdout } = await runCli(profiled);
    expect(status).toBe(0);
    for (const stage of ['text', 'denoising', 'decoding'])
      expect(stdout).toMatch(new RegExp(`^${stage}: [\\d.]+ ms, [\\d.]+ ms in ops\nop +calls .*\n\\w+ +[1-9]`, 'm'));
    const { traceEvents } = JSON.parse(readFileSync(trace, 'utf8')) as {
      traceEvents: { name: string; ph: string; cat?: string; dur: number }[];
    };
    const linear = traceEvents.filter(({ name, ph, cat }) => name === 'linear' && ph === 'X' && cat === 'denoising');
    expect(linear.length).toBeGreaterThan(0);
    expect(linear.every(({ dur }) => dur > 0)).toBe(true);
    const again = await runCli([...generate(out('profiled-2')), '--profile', trace]);
    expect(again).toMatchObject({ status: 1 });
    expect(again.stderr).toContain(`profile ${trace}: it exists; choose another name, or overwrite it (--overwrite)`);
  });

  it('writes a folder of PNGs', async () => {
    expect(await runCli(generate(out('frames')))).toMatchObject({ status: 0 });
    const names = readdirSync(out('frames'));
    expect(names).toHaveLength(24);
    const png = readFileSync(join(out('frames'), names[0]!));
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([32, 32]); // IHDR
    expect(existsSync(out('frames.json'))).toBe(true);
  });

  it('writes a contact sheet of twelve frames in a grid, the first and the last among them', async () => {
    expect(await runCli(generate(out('shown'), '--contact-sheet', out('shown.png')))).toMatchObject({ status: 0 });
    const [width, height] = [4 * 36 + 4, 3 * 36 + 4];
    const png = readFileSync(out('shown.png'));
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([width, height]); // IHDR
    const sheet = await loadImage(out('shown.png'), { width, height });
    for (const [name, left, top] of [
      ['frame_00000.png', 4, 4],
      ['frame_00023.png', 112, 76],
    ] as const) {
      const frame = await loadImage(join(out('shown'), name), { width: 32, height: 32 });
      const rows = Array.from({ length: 32 }, (_, y) => {
        const at = 3 * ((top + y) * width + left);
        return [...sheet.data.subarray(at, at + 3 * 32)];
      });
      expect(rows.flat()).toEqual([...frame.data]);
    }
  });

  it("runs a config of the original, with its option names, from the model's folder", async () => {
    const args = [
      '--config_file',
      join('configs', 't2v.json'),
      '--mode',
      't2v',
      '--output_path',
      out('original.mp4'),
      ...SMALL,
    ];
    const { status, stdout } = await runCli(['generate', ...args], {
      cwd: TINY_MODEL,
      env: { PAD_HQ: '1', PAD_DURATION: 'true' },
    });
    expect(status).toBe(0);
    expect(stdout).toContain('24 frames');
    const facts = JSON.parse(readFileSync(out('original.mp4.json'), 'utf8')) as object;
    expect(facts).toMatchObject({ settings: { specialTokens: { hq: true, duration: true, static: false } } });
  });

  for (const [name, output] of [
    ['mp4', 'cancelled.mp4'],
    ['PNG folder', 'cancelled'],
  ] as const) {
    it(`keeps what was finished when it is interrupted: ${name}`, async () => {
      let sent = false;
      const { status, stderr, stdout } = await runCli(long(out(output)), {
        onStderr: (text, child) => {
          if (!sent && text.includes('decoding')) sent = child.kill('SIGINT');
        },
      });
      expect(status).toBe(130);
      expect(stdout).toBe('');
      expect(stderr).toContain('cancelled');
      const frames = Number(/(\d+) of 480 frames are finished and playable/.exec(stderr)?.[1]);
      expect(frames).toBeGreaterThanOrEqual(24);
      expect(frames).toBeLessThan(480);
      expect(frames % 24).toBe(0);
      if (name === 'PNG folder') expect(readdirSync(out(output))).toHaveLength(frames);
      else if (ffmpeg) expect(countFrames(out(output))).toBe(frames);
      expect(JSON.parse(readFileSync(`${out(output)}.json`, 'utf8'))).toMatchObject({
        complete: false,
        framesWritten: frames,
      });
    });
  }

  it('replaces what exists only with --overwrite, and never by a part', async () => {
    writeFileSync(out('older.mp4'), 'older');
    const refused = await runCli(generate(out('older.mp4')));
    expect(refused).toMatchObject({ status: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^magi1: output .*older\.mp4: it exists; .*--overwrite\)\n$/);
    let sent = false;
    const { status, stderr } = await runCli([...long(out('older.mp4')), '--overwrite'], {
      onStderr: (text, child) => {
        if (!sent && text.includes('decoding')) sent = child.kill('SIGHUP');
      },
    });
    expect(status).toBe(129);
    expect(stderr).toContain(`frames are finished and playable: ${out('older.partial.mp4')}`);
    expect(stderr).toContain(`${out('older.mp4')} is as it was`);
    expect(readFileSync(out('older.mp4'), 'utf8')).toBe('older');
    expect(await runCli([...generate(out('older.mp4')), '--overwrite'])).toMatchObject({ status: 0 });
    expect(JSON.parse(readFileSync(out('older.mp4.json'), 'utf8'))).toMatchObject({ complete: true });
  });

  it('goes on when nobody reads stderr any more', async () => {
    const options = { onStderr: (_: string, child: ChildProcess) => void child.stderr!.destroy() };
    expect(await runCli(generate(out('unread.mp4')), options)).toMatchObject({ status: 0 });
    expect(JSON.parse(readFileSync(out('unread.mp4.json'), 'utf8'))).toMatchObject({ complete: true });
  });

  it('leaves nothing behind when it is interrupted before a chunk is finished', async () => {
    let sent = false;
    const { status, stderr } = await runCli(generate(out('nothing.mp4')), {
      onStderr: (text, child) => {
        if (!sent && text.includes('denoising')) sent = child.kill('SIGINT');
      },
    });
    expect(status).toBe(130);
    expect(stderr).toContain('nothing was finished yet');
    const left = readdirSync(folder).filter((file) => file.startsWith('nothing'));
    expect(left.filter((file) => file !== 'nothing.mp4.resume')).toEqual([]);
  });

  it('goes on where it was stopped, and refuses what it cannot go on with', async () => {
    const request = (output: string, seed: string, ...more: string[]) =>
      generate(out(output), '--seed', seed, ...more).map((arg) => (arg === '24' ? '72' : arg));
    expect(await runCli(request('alone', '3'))).toMatchObject({ status: 0 });
    let sent = false;
    const stopped = await runCli(request('stopped', '3'), {
      onStderr: (text, child) => {
        if (!sent && text.includes('decoding')) sent = child.kill('SIGINT');
      },
    });
    expect(stopped.status).toBe(130);
    expect(stopped.stderr).toContain('the same command with --resume goes on');
    const state = out('stopped.resume');
    expect((await runCli(request('stopped', '3'))).stderr).toMatch(
      /stopped\.resume holds a run that was not finished: --resume/,
    );
    const other = await runCli(request('stopped', '4', '--resume'));
    expect(other.stderr).toContain('--resume: what was kept is of another run; seed: kept of 3, asked for is 4');
    const bytes = readFileSync(state);
    writeFileSync(state, bytes.subarray(0, -1));
    expect((await runCli(request('stopped', '3', '--resume'))).stderr).toContain('not the whole state of a run');
    writeFileSync(state, bytes);
    const resumed = await runCli(request('stopped', '3', '--resume', '--keep-state'));
    expect(resumed).toMatchObject({ status: 0 });
    expect(resumed.stdout).toMatch(/note +resumed after step/);
    const pictures = (name: string) =>
      readdirSync(out(name)).map((file) => [file, readFileSync(join(out(name), file)).toString('base64')]);
    expect(pictures('stopped')).toEqual(pictures('alone'));
    const ending = await runCli(request('stopped', '9', '--resume', '--from-chunk', '2'));
    expect(ending).toMatchObject({ status: 0 });
    const [made, was] = [pictures('stopped'), pictures('alone')];
    expect(made.slice(0, 48)).toEqual(was.slice(0, 48));
    expect(made.slice(48)).not.toEqual(was.slice(48));
    expect(existsSync(state)).toBe(false);
    const again = await runCli(request('stopped', '3', '--resume'));
    expect(again.stderr).toMatch(/stopped is finished, and there is no .*stopped\.resume to go on with/);
    expect(await runCli(request('x', '3', '--from-chunk', '1'))).toMatchObject({ status: 2 });
    expect((await runCli(['generate', '--prompt', 'a', '--resume'])).stderr).toContain('--resume needs --output');
  });

  it('begins anew where nothing was kept, and over nothing that is of no run', async () => {
    mkdirSync(out('empty'));
    const begun = await runCli(generate(out('empty'), '--resume'));
    expect(begun.stderr).toContain('nothing was kept of this run yet: it begins anew');
    expect(begun.status).toBe(0);
    expect(await runCli(generate(out('empty'), '--resume', '--overwrite'))).toMatchObject({ status: 0 });
    writeFileSync(out('foreign.mp4'), 'a video');
    const refused = await runCli(generate(out('foreign.mp4'), '--resume'));
    expect(refused).toMatchObject({ status: 1 });
    expect(refused.stderr).toMatch(/foreign\.mp4 exists, and there is no .*foreign\.mp4\.resume to go on with/);
    expect(readFileSync(out('foreign.mp4'), 'utf8')).toBe('a video');
  });

  it('goes on with the run that was killed, not with one that it was to replace', async () => {
    const request = (seed: string, ...more: string[]) => generate(out('replaced'), '--seed', seed, ...more);
    expect(await runCli(request('3', '--keep-state'))).toMatchObject({ status: 0 });
    let sent = false;
    await runCli(request('5', '--overwrite'), {
      onStderr: (text, child) => {
        if (!sent && text.includes('frames of 32x32 come out')) sent = child.kill('SIGKILL');
      },
    });
    expect(sent).toBe(true);
    expect(await runCli(request('5', '--overwrite', '--resume'))).toMatchObject({ status: 0 });
    const facts = JSON.parse(readFileSync(out('replaced.json'), 'utf8')) as { settings: { seed: number } };
    expect(facts.settings.seed).toBe(5);
  });
});

/** A LoRA of rank 4 that changes one layer, or what is meant to be one. */
async function writeLora(path: string, module = 'blocks.1.attn1.to_q', width = 256): Promise<string> {
  const factor = (seed: number, ...shape: [number, number]): HostTensor => {
    const data = Float32Array.from(seededNoise(seed, shape[0] * shape[1], 0), (value) => value / 4);
    return { dtype: 'f32', shape, data };
  };
  const name = `transformer.${module}`;
  const factors = { 'lora_A.weight': factor(1, 4, width), 'lora_B.weight': factor(2, 256, 4) };
  await writeSafetensors(path, new Map(Object.entries(factors).map(([kind, value]) => [`${name}.${kind}`, value])));
  return path;
}

describe('--lora', () => {
  const frames = (name: string) => readdirSync(out(name)).map((file) => readFileSync(join(out(name), file)));
  const record = (name: string) => JSON.parse(readFileSync(`${out(name)}.json`, 'utf8')) as object;

  it('changes the video, each with its weight, and is recorded', { timeout: 60_000 }, async () => {
    const style = await writeLora(out('style.safetensors'));
    mkdirSync(out('other'));
    await writeLora(join(out('other'), 'style.safetensors'), 'videodit_blocks.layers.2.self_attention.linear_qkv.q');
    const both = ['--lora', `${style}:-0.5`, '--lora', out('other')];
    const { status, stdout } = await runCli(generate(out('styled'), ...both));
    expect(status).toBe(0);
    expect(stdout).toMatch(/lora +style, weight -0\.5: 1 layers, rank up to 4\nlora +other, weight 1: 1 layers/);
    expect(record('styled')).toMatchObject({
      loras: [
        { name: 'style', source: style, weight: -0.5, fused: false },
        { name: 'other', weight: 1 },
      ],
    });
    expect(await runCli(generate(out('plain')))).toMatchObject({ status: 0 });
    expect(await runCli(generate(out('off'), '--lora', `${style}:0`))).toMatchObject({ status: 0 });
    expect(frames('off')).toEqual(frames('plain'));
    expect(frames('styled')).not.toEqual(frames('plain'));
    expect(record('plain')).toMatchObject({ loras: [] });
  });

  it('goes with a config of the original, whose inert settings are said once', async () => {
    const style = await writeLora(out('style2.safetensors'));
    const config = JSON.parse(readFileSync(join(TINY_MODEL, 'configs', 't2v.json'), 'utf8')) as {
      engine_config: Record<string, unknown>;
    };
    config.engine_config.kv_offload = true;
    writeFileSync(out('offload.json'), JSON.stringify(config));
    const args = ['generate', '--config_file', out('offload.json'), '--output', out('by-config'), ...SMALL];
    const environment = { cwd: TINY_MODEL, env: { OFFLOAD_VAE_CACHE: 'true' } };
    const { status, stdout, stderr } = await runCli([...args, '--lora', style], environment);
    expect(status).toBe(0);
    for (const note of ['kv_offload is without effect here', 'OFFLOAD_VAE_CACHE is without effect here'])
      expect(`${stderr}${stdout}`.split(note)).toHaveLength(2);
    expect(record('by-config')).toMatchObject({ loras: [{ name: 'style2', weight: 1 }] });
  });

  it.each<[string, () => Promise<string>, RegExp]>([
    [
      'a missing file',
      () => Promise.resolve(out('no.safetensors:0.5')),
      /no\.safetensors: .*(ENOENT|not exist|no such)/,
    ],
    ['a weight that is not a number', () => Promise.resolve(out('no.safetensors:half')), /no\.safetensors:half/],
    [
      'a layer that is not there',
      () => writeLora(out('stray.safetensors'), 'blocks.9.attn1.to_q'),
      /stray\.safetensors: transformer\.blocks\.9\.attn1\.to_q is not a linear layer of this model/,
    ],
    [
      'the wrong width',
      () => writeLora(out('wide.safetensors'), 'blocks.1.attn1.to_q', 128),
      /wide\.safetensors: .*lora_A takes 128 features, the layer 256/,
    ],
  ])('refuses %s before any work', async (_, file, message) => {
    const { status, stdout, stderr } = await runCli(generate(out('x.mp4'), '--lora', await file()));
    const lines = stderr.trim().split('\n');
    expect(lines.at(-1)).toMatch(message);
    expect(lines.filter((line) => /loading|denoising|^ +at /.test(line))).toEqual([]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});

describe('with nothing but a prompt', () => {
  const times = (text: string, part: string) => text.split(part).length - 1;

  it('runs the pocket model, says nothing of what it knows, and overwrites nothing', async () => {
    const cwd = temporaryFolder();
    const args = ['generate', '--prompt', 'a red circle moves to the right', '--num-frames', '24', '--device', BACKEND];
    for (const name of ['magi1.mp4', 'magi1-2.mp4']) {
      const { status, stdout, stderr } = await runCli(args, { cwd });
      expect({ status, stdout }).toEqual({
        status: 0,
        stdout: expect.stringMatching(`output +\\S*/${name} `) as string,
      });
      expect(times(stdout + stderr, 'it knows one or two objects')).toBe(0);
      expect(stdout + stderr).not.toContain('does not know');
      expect(existsSync(join(cwd, name))).toBe(true);
    }
  });

  it('warns of sizes that the model was not trained on', async () => {
    const args = ['generate', '--prompt', 'a red circle', '--width', '80', '--num-frames', '120', '--steps', '4'];
    const { status, stdout } = await runCli([...args, '--output', out('odd.mp4'), '--device', BACKEND]);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /note +a size this model does not know, .*: 80x64 where .* 64x64, 120 frames where .* up to 96/,
    );
  });
});

describe('bad input ends with one line and a status that is not 0', () => {
  const bad: [what: string, args: () => string[], status: number, message: RegExp][] = [
    ['no command', () => [], 2, /a command is missing/],
    ['another command', () => ['paint'], 2, /no command "paint"/],
    ['another option', () => generate(out('x.mp4'), '--guidance', '3'), 2, /Unknown option '--guidance'/],
    ['an option twice', () => generate(out('x.mp4'), '--height=64'), 2, /--height was given 2 times/],
    [
      'two models',
      () => [...generate(out('x.mp4')), '--config-file', join(TINY_MODEL, 'config.json')],
      2,
      /give --model or --config-file, not both/,
    ],
    [
      'no number',
      () => ['generate', '--model', TINY_MODEL, '--prompt', 'x', '--output', out('x.mp4'), '--steps', 'many'],
      2,
      /--steps: a whole number expected, got "many"/,
    ],
    ['another device', () => ['info', '--device', 'tpu'], 2, /--device: one of auto, webgpu, wasm, reference expected/],
    [
      'no model folder',
      () => ['generate', '--model', out('none'), '--output', out('x.mp4'), ...SMALL],
      1,
      /model folder .*none: does not exist/,
    ],
    [
      'a file as model folder',
      () => ['generate', '--model', join(TINY_MODEL, 'config.json'), '--output', out('x.mp4'), ...SMALL],
      1,
      /is a file; name the folder/,
    ],
    ['no output folder', () => generate(join(folder, 'none', 'x.mp4')), 1, /does not exist; create it first/],
    ['another format', () => generate(out('x.gif')), 1, /\.gif is not written/],
    ['no picture', () => generate(out('x.mp4'), '--contact-sheet', out('x.jpg')), 1, /a name ending in \.png expected/],
    [
      'no folder for a trace',
      () => generate(out('x.mp4'), '--profile', out('none/t')),
      1,
      /profile .* create it first/,
    ],
    ['a folder as trace', () => generate(out('x.mp4'), '--profile', folder), 1, /is not a regular file/],
    [
      'a trace with no name',
      () => generate(out('x.mp4'), '--profile', ''),
      2,
      /--profile: FILE\.json expected, got an/,
    ],
    ['no name', () => generate(''), 2, /--output: PATH expected, got an empty name/],
    ['no value', () => generate('--profile'), 2, /--output: PATH expected, got the option --profile/],
    [
      'no value at the end',
      () => generate(out('x.mp4'), '--profile'),
      2,
      /--profile: FILE\.json expected, got nothing/,
    ],
    [
      'too many threads',
      () => generate(out('x.mp4'), '--threads=999'),
      2,
      /--threads: .* from 1 to 256 expected, got 999/,
    ],
    ...(
      [
        [out('x.mp4'), out('x.mp4'), []],
        [out('x.mp4'), out('x.mp4.json'), []],
        [out('x.mp4'), out('x.mp4.unfinished'), []],
        [out('x'), out('x'), []],
        [out('x'), out('x.json'), []],
        [out('y'), out('x.png'), ['--contact-sheet', out('x.png')]],
      ] as const
    ).map(([output, trace, more]): (typeof bad)[number] => [
      `a trace ${trace} beside ${output} ${more.join(' ')}`,
      () => generate(output, '--profile', trace, ...more),
      1,
      /--profile and --(output|contact-sheet): two names apart expected, got/,
    ]),
    ['a taken name', () => generate(out('taken.mp4')), 1, /it exists and is not a regular file/],
    [
      'an odd size',
      () => ['generate', '--model', TINY_MODEL, '--prompt', 'x', '--output', out('x.mp4'), '--height', '100'],
      1,
      /--height: a multiple of 16 expected .*nearest valid: 96 and 112/,
    ],
    [
      'no frames',
      () => ['generate', '--model', TINY_MODEL, '--prompt', 'x', '--output', out('x.mp4'), '--num-frames', '0'],
      1,
      /--num-frames: a whole number above 0 expected, got 0/,
    ],
    [
      'negative steps',
      () => generate(out('x.mp4'), '--steps', '-8'),
      1,
      /--steps: a whole number above 0 expected, got -8/,
    ],
    ['steps that do not divide', () => generate(out('x.mp4'), '--steps', '50'), 1, /nearest valid: 48 and 52/],
    [
      'too small a budget',
      () => generate(out('x.mp4'), '--memory-budget', '1MiB'),
      1,
      /memory budget of 1\.00 MiB: this run needs about/,
    ],
    [
      'no such adapter',
      () => [
        'generate',
        '--model',
        TINY_MODEL,
        '--prompt',
        'x',
        '--output',
        out('x.mp4'),
        '--device',
        'webgpu',
        '--adapter',
        'no such',
      ],
      1,
      /no adapter is named like "no such"/,
    ],
    ['a missing folder to verify', () => ['verify', out('none'), '--device', 'reference'], 1, /is not a folder/],
  ];
  beforeAll(() => mkdirSync(out('taken.mp4')));
  for (const [what, args, status, message] of bad) {
    it(what, async () => {
      const result = await runCli(args());
      const lines = result.stderr
        .trim()
        .split('\n')
        .filter((line) => !line.startsWith('Warning: ')); // Dawn's own
      expect(lines.at(-1)).toMatch(message);
      expect(lines.at(-1)).toMatch(/^magi1: /);
      expect(lines.filter((line) => /loading|denoising|^ +at /.test(line))).toEqual([]);
      expect(result.stdout).toBe('');
      expect(result.status).toBe(status);
      expect(existsSync(out('x.mp4'))).toBe(false);
    });
  }

  it('shows where with --debug', async () => {
    const { stderr, status } = await runCli([
      'generate',
      '--model',
      out('none'),
      '--output',
      out('x.mp4'),
      ...SMALL,
      '--debug',
    ]);
    expect(stderr).toMatch(/\n +at .*model-files/);
    expect(status).toBe(1);
  });
});

describe('help', () => {
  for (const command of ['generate', 'info', 'verify']) {
    it(command, async () => {
      const { status, stdout } = await runCli([command, '--help']);
      expect(status).toBe(0);
      expect(stdout).toContain(`Usage: magi1 ${command}`);
    });
  }
  it('of all', async () => {
    const { status, stdout } = await runCli(['--help']);
    expect(status).toBe(0);
    for (const command of ['generate', 'info', 'verify']) expect(stdout).toContain(command);
  });
});

describe('info', () => {
  it('shows devices, versions and a model', async () => {
    const { status, stdout } = await runCli(['info', '--model', TINY_MODEL, '--device', BACKEND]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/magi1 \d+\.\d+\.\d+, Node v?\d+/);
    expect(stdout).toMatch(new RegExp(`device ${BACKEND}: .* \\(asked for\\)`));
    expect(stdout).toContain('WebGPU adapters:');
    expect(stdout).toContain('transformer: 1,706,818 parameters in 92 tensors (f32 25,410, bf16 1,681,408)');
    expect(stdout).toMatch(/memory: about .* on the device/);
  });

  const typed: [args: string[], status: number, message: string][] = [
    [['--mode', 'v2v', '--prefix-frames', '31'], 1, 'nearest valid: 28 and 32'],
    [['--mode', 'v2v', '--prefix-frames', '999999'], 1, '--prefix-frames: at most 100000 expected, got 999999'],
    [['--prefix-frames', '32'], 2, '--prefix-frames belongs to --mode v2v, not t2v'],
    [['--height', '0'], 1, '--height: a whole number above 0 expected, got 0'],
    [['--model', ''], 2, '--model: DIR expected, got an empty name'],
  ];
  it.each(typed)('refuses what generate refuses: %j', async (args, status, message) => {
    const run = await runCli(['info', '--device', 'reference', ...args]);
    expect(run.stderr).toContain(message);
    expect(run).toMatchObject({ status, stdout: '' });
  });

  it('as JSON, of the pocket model where none is named', async () => {
    const { status, stdout } = await runCli(['info', '--json', '--device', 'reference']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      chosen: { backend: 'reference', reason: 'asked for' },
      model: { trained: { height: 64, width: 64, numFrames: 96 }, settings: { frames: 48, numInferenceSteps: 8 } },
    });
  });
});

it('shows escape sequences of a model, a path and a message instead of obeying them', async () => {
  const model = copyTinyModel();
  editConfig(model, (config) => (config['model_config']!['model_name'] = 'a\u001b[2J\u009b31m\u0007b'));
  const shown = await runCli(['info', '--model', model, '--device', BACKEND]);
  expect(shown).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('model a\\u001b[2J\\u009b31m\\u0007b: ') as string,
  });
  const missing = await runCli(['generate', '--prompt', 'x', '--output', out('\u001b[31mred.gif')]);
  expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining('\\u001b[31mred.gif') as string });
  const json = await runCli(['info', '--model', model, '--device', BACKEND, '--json']);
  expect(JSON.parse(json.stdout)).toMatchObject({ model: { name: 'a\u001b[2J\u009b31m\u0007b' } });
  for (const { stdout, stderr } of [shown, missing, json]) expect(stdout + stderr).not.toMatch(/[\u0007\u001b\u009b]/);
});

describe('verify', () => {
  const goldens = join(REPOSITORY, 'tests', 'fixtures', 't5');

  it('prints a line per case and the counts last', async () => {
    const { status, stdout } = await runCli(['verify', goldens, '--device', 'reference', '--only', 'clean_caption']);
    const lines = stdout.trim().split('\n');
    expect(lines.at(-1)).toMatch(/^[1-9]\d* passed, 0 failed, 0 unknown$/);
    expect(lines[0]).toMatch(/^pass +clean_caption\.json/);
    expect(status).toBe(0);
  });

  it('as JSON, and fails when something is unknown', async () => {
    const strange = temporaryFolder();
    writeFileSync(join(strange, 'stray.dat'), 'x');
    const { status, stdout } = await runCli(['verify', strange, '--device', 'reference', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      device: 'reference',
      passed: 0,
      failed: 0,
      unknown: 1,
      cases: [{ path: 'stray.dat', status: 'unknown', maxAbs: null, relL2: null }],
    });
    expect(status).toBe(1);
  });
});

it('streams to a file without growing with its length', { timeout: 300_000 }, async () => {
  const script = join(REPOSITORY, 'tests', 'support', 'stream-to-file.mjs');
  const peaks: { rss: number; alive: number }[] = [];
  for (const chunks of [8, 16]) {
    const args = ['--expose-gc', script, TINY_MODEL, out(`${chunks}.mp4`), BACKEND, `${chunks}`];
    const { status, stdout, stderr } = await runNode(args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const { frames, ...peak } = JSON.parse(stdout) as { frames: number; rss: number; alive: number };
    expect(frames).toBe(24 * chunks);
    peaks.push(peak);
  }
  // The frames of eight chunks, were they kept, would be 14 % of what is alive.
  expect(peaks[1]!.alive / peaks[0]!.alive).toBeLessThan(1.05);
  expect(peaks[1]!.rss / peaks[0]!.rss).toBeLessThan(1.05);
});

describe('plan', () => {
  const plan = (...args: string[]) => runCli(['plan', '--device', BACKEND, ...args]);

  it('says whether a model that is not there fits: the last line has the peak, the status the verdict', async () => {
    const size = ['--width', '256', '--height', '256', '--num-frames', '24', '--no-time'];
    const large = await plan('--model', '4.5B_distill', '--memory-budget', '40GiB', ...size);
    expect(large.stderr).toBe('');
    expect(large.stdout).toMatch(
      /^verdict fits, all networks loaded\npeak: [\d.]+ GiB planned, 40\.00 GiB available \(the budget\)\n$/m,
    );
    expect(large.stdout).not.toMatch(/^time/m);
    expect(large.status).toBe(0);
    const { status, stdout } = await plan('--model', '4.5B_distill', '--memory-budget', '1GiB', '--json', ...size);
    expect(status).toBe(3);
    const { peak, fit, time } = JSON.parse(stdout) as {
      peak: object;
      fit: { need: { peaks: { group: number } } };
      time?: object;
    };
    expect(peak).toEqual({ planned: fit.need.peaks.group, available: 2 ** 30, fits: false });
    expect(time).toBeUndefined();
  });

  it('plans the bits that quantize makes, and names the offloading with which a run would fit', async () => {
    const size = ['--width', '256', '--height', '256', '--num-frames', '24', '--no-time', '--offload', 'none'];
    const { status, stdout } = await plan(
      ...['--model', '4.5B_distill', '--bits', '4', '--cache-dtype', 'q8', '--memory-budget', '4GiB', ...size],
    );
    expect(status).toBe(3);
    expect(stdout).toMatch(/^256x256 +24 +q4 +q8 .* too much .* fits .* fits$/m);
    expect(stdout).toMatch(
      /^verdict does not fit; with --offload text it does\npeak: 5\.\d+ GiB planned, 4\.00 GiB available \(the budget\)\n$/m,
    );
  });

  it('takes a config file, and tells the time on this device', async () => {
    const config = join(TINY_MODEL, 'config.json');
    const { status, stdout } = await plan('--model', config, '--height', '32', '--width', '32', '--num-frames', '24');
    expect(stdout).toMatch(/^time {4}about .*: text .*, denoising .*, decoding /m);
    expect(stdout).toContain('WebAssembly');
    expect(status).toBe(0);
  });

  it.each([
    [['--model', '7B'], /^magi1: --model: .*4\.5B_base, .*24B_distill_quant, pocket expected, got "7B"$/m],
    [[], /^magi1: --model is missing$/m],
    [['--model', 'pocket', '--prefix-frames', '8'], /^magi1: --prefix-frames belongs to --mode v2v, not t2v$/m],
    [['--model', 'pocket', '--adapter', 'x'], /^magi1: --adapter chooses a WebGPU adapter, but --device is wasm$/m],
    [['--model', 'pocket', '--dtype', 'f8'], /^magi1: --dtype: one of f32, f16, bf16, q8, q4 expected, got "f8"$/m],
    [['--model', 'pocket', '--bits', '2'], /^magi1: --bits: one of 16, 8, 4 expected, got "2"$/m],
    [
      ['--model', 'pocket', '--bits', '4', '--dtype', 'bf16'],
      /^magi1: --bits 4 and --dtype bf16: both say .*give one of them \(--bits 4 is --dtype q4\)$/m,
    ],
  ])('refuses %j', async (args, message) => {
    const { status, stdout, stderr } = await plan(...args);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
    expect(status).toBe(2);
  });

  it('stops at the first signal', async () => {
    let sent = false;
    const { status, stdout, stderr } = await runCli(['plan', '--device', BACKEND, '--model', '24B_base'], {
      onStderr: (text, child) => {
        if (!sent && text.includes('trying ops')) sent = child.kill('SIGINT');
      },
    });
    expect({ status, stdout }).toEqual({ status: 130, stdout: '' });
    expect(stderr).toMatch(/^trying ops on .*\nstopped\n$/);
  });
});
