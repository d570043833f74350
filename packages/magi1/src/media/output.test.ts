// An output from its reservation to its end: who has a name, what may be replaced, what is kept.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { linkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openMp4Writer, openVideoWriter, OutputTakenError, reserveOutput } from './index.ts';
import { checkMp4, mendFragments } from './node/mp4-check.ts';
import { Mp4File } from './node/mp4-file.ts';
import { Output } from './node/output.ts';
import { startFfmpeg } from './node/ffmpeg-encoder.ts';
import { videoWriter } from './node/video-writer.ts';
import { movingClip, probe } from './testing.ts';

const root = mkdtempSync(join(tmpdir(), 'magi1-output-'));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;
const newFolder = (): string => {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  return folder;
};
const size = { width: 32, height: 32, fps: 24 };
const encoder = 'wasm';

async function write(path: string, count = 4, more = {}): Promise<void> {
  const writer = await openVideoWriter({ path, ...size, encoder, ...more });
  await writer.write(movingClip(32, 32, count), count);
  await writer.finish();
}

/** What a killed run leaves: a reservation whose owner has ended. */
function leave(work: string, from?: string): void {
  mkdirSync(work);
  const { pid } = spawnSync('true');
  writeFileSync(join(work, 'owner.json'), JSON.stringify({ pid, host: hostname(), began: null, token: 't' }));
  if (from !== undefined) cpSync(from, join(work, 'o.mp4'));
}

describe('a name', () => {
  it('is one writer’s at a time, and free again after it', async () => {
    const path = join(newFolder(), 'o.mp4');
    const first = await reserveOutput(path);
    await expect(reserveOutput(path)).rejects.toThrow(OutputTakenError);
    await expect(openMp4Writer({ path, ...size })).rejects.toThrow(`process ${process.pid} is writing it`);
    first.release();
    (await reserveOutput(path)).release();
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });

  it('is taken over from a process that has ended, whose finished frames are kept', async () => {
    const folder = newFolder();
    const path = join(folder, 'o.mp4');
    const writer = await openVideoWriter({ path, ...size, encoder });
    await writer.write(movingClip(32, 32, 24), 24);
    const fragments = join(folder, 'copy.mp4');
    cpSync(join(`${path}.unfinished`, 'o.mp4'), fragments);
    await writer.abort('failed');
    for (const name of ['o.partial.mp4', 'o.partial.mp4.json']) rmSync(join(folder, name));
    writeFileSync(fragments, readFileSync(fragments).subarray(0, -10), { flag: 'r+' });
    writeFileSync(fragments, Buffer.alloc(100), { flag: 'a' }); // torn in the middle of a write
    leave(`${path}.unfinished`, fragments);
    using output = await reserveOutput(path);
    const part = join(folder, 'o.partial.mp4');
    expect(output.notes).toEqual([expect.stringContaining(`the 24 frames that it had finished are kept as ${part}`)]);
    expect(probe(part)).toMatchObject({ nb_read_frames: '24' });
    expect(JSON.parse(readFileSync(`${part}.json`, 'utf8'))).toMatchObject({ complete: false, framesWritten: 24 });
  });

  it('is not taken from a folder that is the user’s', async () => {
    const path = join(newFolder(), 'o.mp4');
    mkdirSync(`${path}.unfinished`);
    writeFileSync(join(`${path}.unfinished`, 'mine'), '');
    await expect(reserveOutput(path)).rejects.toThrow('is in the way');
    expect(readdirSync(join(path, '..'))).toEqual(['o.mp4.unfinished']);
  });

  it('is refused where it exists, where its sidecar is something else, or is too long', async () => {
    const folder = newFolder();
    const path = join(folder, 'o.mp4');
    writeFileSync(path, 'older');
    await expect(reserveOutput(path, { overwrite: false })).rejects.toThrow('it exists; choose another name');
    writeFileSync(join(folder, 'p.mp4.json'), '{"mine": 1}');
    await expect(reserveOutput(join(folder, 'p.mp4'))).rejects.toThrow(
      'p.mp4.json, which exists and is of no earlier run',
    );
    mkdirSync(join(folder, 'q.mp4.json'));
    await expect(reserveOutput(join(folder, 'q.mp4'))).rejects.toThrow('q.mp4.json, which exists');
    await expect(reserveOutput(join(folder, `${'x'.repeat(240)}.mp4`))).rejects.toThrow('a name of up to 239 bytes');
    symlinkSync('nowhere', join(folder, 'l.mp4'));
    await expect(reserveOutput(join(folder, 'l.mp4'))).rejects.toThrow('a link to nothing');
  });

  it('is refused where it is read by the same run', async () => {
    const folder = newFolder();
    const [path, other] = [join(folder, 'clip.mp4'), join(folder, 'same.mp4')];
    writeFileSync(path, 'clip');
    linkSync(path, other);
    for (const input of [path, other])
      await expect(reserveOutput(path, { inputs: [input] })).rejects.toThrow(`${input} is read by this run`);
  });
});

describe('what is there', () => {
  it('stays until the new one is whole, behind a link as well', async () => {
    const folder = newFolder();
    const [path, link] = [join(folder, 'o.mp4'), join(folder, 'link.mp4')];
    await write(path);
    symlinkSync('o.mp4', link);
    const before = readFileSync(path);
    const writer = await openVideoWriter({ path: link, ...size, encoder });
    await writer.write(movingClip(32, 32, 8), 8);
    expect(readFileSync(path)).toEqual(before);
    await writer.finish();
    expect(() => checkMp4(path, 8)).not.toThrow();
    expect(readdirSync(folder).sort()).toEqual(['link.mp4', 'o.mp4']);
  });

  it('is not replaced by a video that came to harm on the disk', async () => {
    const folder = newFolder();
    const path = join(folder, 'o.mp4');
    await write(path);
    const before = readFileSync(path);
    const writer = await openVideoWriter({ path, ...size, encoder });
    await writer.write(movingClip(32, 32, 24), 24);
    rmSync(join(`${path}.unfinished`, 'o.mp4'));
    await expect(writer.finish()).rejects.toThrow(/is gone; nothing is kept/);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(['o.mp4']);
  });

  it('and has come up in the meantime is not replaced where that is not allowed', async () => {
    const folder = newFolder();
    const path = join(folder, 'o.mp4');
    const writer = await openVideoWriter({ path, ...size, encoder, overwrite: false });
    await writer.write(movingClip(32, 32, 4), 4);
    writeFileSync(path, 'mine');
    await expect(writer.finish()).rejects.toThrow(/4 frames are kept as .*o\.partial\.mp4/);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  it('under the name of a part is not touched', async () => {
    const folder = newFolder();
    for (const name of ['o.partial.mp4', 'o.whole.mp4']) writeFileSync(join(folder, name), 'mine');
    const writer = await openVideoWriter({ path: join(folder, 'o.mp4'), ...size, encoder });
    await writer.write(movingClip(32, 32, 4), 4);
    expect(await writer.abort('failed')).toEqual({ path: join(folder, 'o.partial-2.mp4'), frames: 4 });
    for (const name of ['o.partial.mp4', 'o.whole.mp4']) expect(readFileSync(join(folder, name), 'utf8')).toBe('mine');
  });
});

describe('a folder of PNGs', () => {
  const frames = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith('.png'));

  it('holds one run’s frames only, and the user’s other files', async () => {
    const folder = join(newFolder(), 'frames');
    await write(folder, 5);
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    await expect(write(folder, 3, { overwrite: false })).rejects.toThrow('it holds 5 frames of an earlier run');
    await write(folder, 3);
    expect(readdirSync(folder).sort()).toEqual([...[0, 1, 2].map((i) => `frame_0000${i}.png`), 'notes.txt']);
    const sidecar = JSON.parse(readFileSync(`${folder}.json`, 'utf8')) as object;
    expect(sidecar).toEqual({ output: folder, complete: true, framesWritten: 3 });
  });

  it('with frames that no run has written is refused', async () => {
    const folder = join(newFolder(), 'frames');
    await write(folder, 2);
    writeFileSync(join(folder, 'frame_00300.png'), 'mine');
    await expect(write(folder)).rejects.toThrow('it holds frame_00300.png');
    expect(frames(folder)).toHaveLength(3);
  });

  it('keeps the older frames when a run fails or is killed while it takes their place', async () => {
    const folder = join(newFolder(), 'frames');
    await write(folder, 5);
    const older = frames(folder).map((name) => readFileSync(join(folder, name)));
    const output = await reserveOutput(folder);
    const writer = await openVideoWriter({ path: output, ...size });
    await writer.write(movingClip(32, 32, 4, 9), 4);
    // As a kill leaves it: older frames aside, two new ones in their place.
    const work = join(folder, 'frames.unfinished');
    mkdirSync(join(work, 'earlier-frames'));
    for (const name of frames(folder)) cpSync(join(folder, name), join(work, 'earlier-frames', name));
    for (const name of frames(folder)) rmSync(join(folder, name));
    for (const name of ['frame_00000.png', 'frame_00001.png']) {
      cpSync(join(output.growing, name), join(folder, name));
      rmSync(join(output.growing, name));
    }
    const copy = join(folder, '..', 'copy');
    cpSync(work, copy, { recursive: true });
    output.release();
    leave(work);
    for (const name of readdirSync(copy))
      if (name !== 'owner.json') cpSync(join(copy, name), join(work, name), { recursive: true });
    using next = await reserveOutput(folder);
    expect(next.notes[0]).toContain('the 4 frames that it had finished are kept as');
    expect(frames(folder).map((name) => readFileSync(join(folder, name)))).toEqual(older);
    expect(frames(join(folder, 'frames.partial'))).toHaveLength(4);
  });

  it('may be the working directory', async () => {
    const folder = newFolder();
    const before = process.cwd();
    process.chdir(folder);
    try {
      await write('.', 2);
    } finally {
      process.chdir(before);
    }
    expect(frames(folder)).toHaveLength(2);
    expect(readdirSync(folder).filter((name) => name.endsWith('.json'))).toHaveLength(1);
    expect(existsSync(`${folder}.json`)).toBe(false);
  });
});

describe('the mp4 on the disk', () => {
  it('has every frame that was given once the write has ended', async () => {
    const path = join(newFolder(), 'o.mp4');
    const writer = await openMp4Writer({ path, ...size, encoder: 'ffmpeg' });
    for (const [i, count] of [24, 1, 7].entries()) {
      await writer.write(movingClip(32, 32, count, i), count);
      expect(probe(join(`${path}.unfinished`, 'o.mp4'))).toMatchObject({ nb_read_frames: String([24, 25, 32][i]) });
    }
    await writer.abort();
  });

  it('is looked at: a file that was cut short is none', async () => {
    const path = join(newFolder(), 'o.mp4');
    await write(path, 6);
    expect(() => checkMp4(path, 6)).not.toThrow();
    expect(() => checkMp4(path, 7)).toThrow('7 frames were written, 6 are on the disk');
    const { size: bytes } = statSync(path);
    writeFileSync(path, readFileSync(path).subarray(0, bytes - 100));
    expect(() => checkMp4(path, 6)).toThrow(/bytes that are on the disk/);
    writeFileSync(path, '');
    expect(() => checkMp4(path, 6)).toThrow(/0 bytes/);
    expect(mendFragments(path)).toBe(0);
  });

  it.each(['ffmpeg', 'wasm'] as const)('keeps a frame rate below one: %s', async (by) => {
    const path = join(newFolder(), 'o.mp4');
    await write(path, 3, { fps: 0.5, encoder: by });
    expect(probe(path)).toMatchObject({ r_frame_rate: '1/2', nb_read_frames: '3' });
    expect(Number(probe(path).duration)).toBeCloseTo(6, 2);
  });

  it('takes no text that a file cannot hold', async () => {
    const path = join(newFolder(), 'o.mp4');
    for (const title of ['a\0b', 'x'.repeat(300_000)])
      await expect(openMp4Writer({ path, ...size, metadata: { title } })).rejects.toThrow(
        /metadata title: text of up to/,
      );
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });
});

describe('an ffmpeg', () => {
  const standIn = (folder: string, body: string): { command: string; version: string } => {
    const command = join(folder, 'stand-in');
    writeFileSync(command, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return { command, version: '9' };
  };
  const open = (body: string, silence?: number) => {
    const folder = newFolder();
    const options = { path: join(folder, 'o.mp4'), ...size };
    const output = new Output(options.path);
    const file = new Mp4File(output.growing, size);
    return videoWriter(output, startFfmpeg(standIn(folder, body), options, file, silence), 'stand-in', options);
  };
  const endless = async (writer: ReturnType<typeof open>): Promise<void> => {
    for (;;) await writer.write(movingClip(32, 32, 24), 24);
  };

  it.each([
    [
      'takes 30,000 bytes and ends',
      'head -c 30000 >/dev/null; echo out of memory >&2; exit 1',
      /status 1: out of memory/,
    ],
    ['is killed', 'head -c 30000 >/dev/null; kill -TERM $$', /ffmpeg ended by SIGTERM/],
    ['closes its input', 'exec 0</dev/null; sleep 9', /ffmpeg has closed its input/],
    ['hangs', 'sleep 99', /ffmpeg has done nothing for 2 s/],
  ])('that %s is an error', async (_, body, message) => {
    await expect(endless(open(body, 2))).rejects.toThrow(message);
  });

  it('that dies between two chunks is noticed at once', async () => {
    const { failed } = open('sleep 0.3; echo no memory >&2; exit 9');
    if (!failed.aborted) await new Promise((done) => failed.addEventListener('abort', done, { once: true }));
    expect(String(failed.reason)).toMatch(/output .*o\.mp4: ffmpeg ended with status 9: no memory/);
  });

  it('that gives fewer frames than it took, with status 0, makes no video', async () => {
    const writer = open('exec cat >/dev/null', 2);
    await writer.write(movingClip(32, 32, 2), 2);
    await expect(writer.finish()).rejects.toThrow(/ffmpeg took 2 frames and gave 0; .*nothing is kept/);
    expect(existsSync(writer.path)).toBe(false);
  });
});
