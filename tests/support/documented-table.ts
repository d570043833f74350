// Commands of the documentation that its test does not run as they stand, each with the reason and what is checked
// instead. A command that is neither run nor listed fails the test, and so does an entry that no document has.

export type Instead =
  /** A shorter form of it runs, ends with one of these statuses (0), and prints this. */
  | { readonly run: string; readonly statuses?: readonly number[]; readonly stdout?: RegExp }
  /** It is a form of a `magi1` command: the program knows its options and takes as many arguments. */
  | { readonly parses: string }
  /** What it names is there. */
  | { readonly files: readonly string[] }
  /** It is `python -m pocket.NAME`: that module exists and has these options. */
  | { readonly python: true };

export interface NotRun {
  readonly command: string;
  readonly why: string;
  readonly instead: Instead;
}

const THIS_SUITE = 'this test is part of it';
const TRAINING = 'needs Python with PyTorch, and hours';
const python = (command: string): NotRun => ({ command, why: TRAINING, instead: { python: true } });
const vitest = (command: string, file: string): NotRun => ({ command, why: THIS_SUITE, instead: { files: [file] } });

export const NOT_RUN: readonly NotRun[] = [
  { command: 'npm test', why: THIS_SUITE, instead: { run: 'npm test -- --dry-run' } },
  {
    command: 'npm test -- --install-adapter',
    why: 'installs system packages',
    instead: { run: 'npm test -- --install-adapter --dry-run' },
  },
  { command: 'npm test -- --no-webgpu', why: THIS_SUITE, instead: { run: 'npm test -- --no-webgpu --dry-run' } },
  { command: 'npm test -- --node 22', why: THIS_SUITE, instead: { run: 'npm test -- --node 22 --dry-run' } },
  {
    command: 'npm test -- tests/ops.test.ts',
    why: THIS_SUITE,
    instead: { run: 'npm test -- tests/ops.test.ts --dry-run && test -f tests/ops.test.ts' },
  },
  { command: 'npm pack', why: 'in each package', instead: { files: ['tests/packing.test.ts'] } },
  { command: 'npm run check', why: 'npm test runs it', instead: { files: ['scripts/check.mjs'] } },
  {
    command: 'npx prettier --write .',
    why: 'npm test runs it with --check',
    instead: { run: 'npx prettier --write README.md' },
  },
  vitest('npx vitest run tests/ops.test.ts', 'tests/ops.test.ts'),
  vitest('npx vitest run tests/wgsl.test.ts', 'tests/wgsl.test.ts'),
  vitest('npx vitest run tests/tiny-model.test.ts', 'tests/tiny-model.test.ts'),
  {
    command: 'MAGI1_OP=rope,linear npx vitest run tests/ops.test.ts',
    why: THIS_SUITE,
    instead: { files: ['packages/kernels/src/rope', 'packages/kernels/src/linear'] },
  },
  // The op of these is the reader's.
  vitest('MAGI1_OP=prelu npx vitest run tests/non-finite.test.ts', 'tests/non-finite.test.ts'),
  vitest('MAGI1_OP=prelu npx vitest run tests/ops.test.ts', 'tests/ops.test.ts'),
  vitest('MAGI1_OP=prelu npx vitest run tests/wgsl.test.ts -u', 'tests/wgsl.test.ts'),
  vitest('MAGI1_OP=prelu npx vitest run tests/compile-time.test.ts', 'tests/compile-time.test.ts'),

  {
    command: 'npm run -s eval',
    why: 'measures hundreds of clips',
    instead: { run: 'npm run -s eval -- --clips 1 --column "distilled, 8"', statuses: [0, 1] },
  },
  {
    command: 'npm run -s eval -- --quick',
    why: '40 clips; its status says whether goals are met',
    instead: { run: 'npm run -s eval -- --quick --clips 1', statuses: [0, 1] },
  },
  {
    command: 'npm run -s eval -- --cache-dtype q8',
    why: 'measures 1920 clips',
    instead: { run: 'npm run -s eval -- --cache-dtype q8 --clips 1' },
  },
  {
    command: 'npm run -s eval -- --dtype q8 --clips 240',
    why: 'measures 1920 clips',
    instead: { run: 'npm run -s eval -- --dtype q8 --clips 1' },
  },
  { command: 'npm run bench', why: 'measures for minutes', instead: { run: 'npm run bench -- --help' } },
  {
    command: 'npm run bench -- --quick',
    why: 'measures for a minute',
    instead: { run: 'npm run bench -- --quick --op unary --device wasm --no-peers --seconds 1' },
  },
  {
    command: 'npm run bench -- --op linear --device wasm',
    why: 'measures for minutes',
    instead: { run: 'npm run bench -- --op linear --device wasm --quick --no-peers --seconds 1' },
  },
  {
    command: 'npm run bench -- --against DIR --op softmax',
    why: 'needs another build',
    instead: { run: 'npm run bench -- --against DIR --op softmax --help' },
  },
  {
    command: 'npm run bench -- --runs --against DIR',
    why: 'needs another build',
    instead: {
      run: 'npm run bench -- --runs --against . --device wasm --pairs 1',
      stdout: /^magi1 --help +clock [^]*^pocket video, wasm, .* processor, to the first step .* 1$/m,
    },
  },
  {
    command: 'npm run bench -- --peers',
    why: 'installs other libraries',
    instead: { run: 'npm run bench -- --peers --help' },
  },
  {
    command: 'npm run -s house -- --against DIR',
    why: 'needs another build',
    instead: { run: 'npm run -s house -- --against .' },
  },
  {
    command: 'npm run rehearse',
    why: 'writes gigabytes',
    instead: { files: ['scripts/rehearse.mjs', 'scripts/rehearse.test.mjs'] },
  },
  {
    command: 'npm run rehearse -- --model 4.5B --layers 2',
    why: 'writes 5 GB',
    instead: { files: ['scripts/rehearse.mjs', 'scripts/rehearse.test.mjs'] },
  },
  { command: 'npm run -s plan', why: 'runs 40 videos', instead: { files: ['scripts/plan-table.mjs'] } },
  {
    command: 'npm run -s offload',
    why: 'writes 1 GiB and measures for minutes',
    instead: { run: 'npm run -s offload -- --only pocket --rounds 1' },
  },
  {
    command: 'magi1 info --model DIR',
    why: 'says how a command is built',
    instead: { run: 'magi1 info --model packages/magi1/pocket' },
  },
  { command: 'magi1 plan', why: 'names the command', instead: { run: 'magi1 plan --help' } },
  {
    command: 'magi1 plan --model 4.5B_distill --width 256 --height 256 --num-frames 24 --memory-budget 24GiB',
    why: 'tries ops for seconds',
    instead: {
      run: 'magi1 plan --model 4.5B_distill --width 256 --height 256 --num-frames 24 --memory-budget 24GiB --device wasm --no-time',
      stdout: /^peak: .* GiB planned, 24.00 GiB available \(the budget\)$/m,
    },
  },
  {
    command: 'npm run -s magi1 -- plan --model 4.5B_distill',
    why: 'its status says whether this machine is large enough',
    instead: { run: 'npm run -s magi1 -- plan --model 4.5B_distill --no-time --device wasm', statuses: [0, 3] },
  },
  {
    command: 'npm run blocks -- --model 24B --dtype q4',
    why: 'computes for minutes',
    instead: { files: ['scripts/blocks.mjs', 'scripts/blocks.test.mjs'] },
  },
  {
    command: 'npm run blocks',
    why: 'computes for minutes',
    instead: { files: ['scripts/blocks.mjs', 'scripts/blocks.test.mjs'] },
  },
  { command: 'npm run trials', why: 'kills runs for minutes', instead: { files: ['scripts/trials.mjs'] } },
  {
    command: 'npm run trials -- --only resume',
    why: 'kills runs for minutes',
    instead: { files: ['scripts/trials.mjs', 'scripts/trials/writers.mjs'] },
  },
  {
    command: 'npm run verify:all',
    why: 'every golden on every device',
    instead: { files: ['scripts/verify-all.mjs'] },
  },
  {
    command: 'magi1 verify tests/fixtures',
    why: 'the conformance tests run all of it',
    instead: { run: 'magi1 verify tests/fixtures --device wasm --only clean_caption' },
  },

  {
    command: 'npm run -s magi1 -- download sand-ai/MAGI-1 --model 4.5B_distill --dry-run',
    why: 'asks a hub; tests/download-cli.test.ts runs it against one of its own',
    instead: { parses: 'download sand-ai/MAGI-1 --model 4.5B_distill --dry-run' },
  },
  {
    command: 'magi1 quantize SOURCE DESTINATION --bits 8|4',
    why: 'a form',
    instead: { parses: 'quantize SOURCE DESTINATION --bits 4' },
  },
  {
    command: 'magi1 download REPOSITORY --model NAME --bits 8|4',
    why: 'a form',
    instead: { parses: 'download REPOSITORY --model NAME --bits 4' },
  },
  { command: 'magi1 verify', why: 'names the command', instead: { run: 'magi1 verify --help' } },
  {
    command: 'npm run -s magi1 --',
    why: 'the beginning of a command',
    instead: { run: 'npm run -s magi1 -- --help' },
  },
  {
    command: 'node packages/magi1/dist/cli/main.js',
    why: 'the beginning of a command',
    instead: { run: 'node packages/magi1/dist/cli/main.js --help' },
  },
  ...[
    'generate --lora style.safetensors:0.7',
    'generate --profile trace.json',
    'generate --config-file config.json --prompt ... --output ...',
    'magi1 verify PATH',
    'magi1 verify PATH --only dit/ --cache-dtype f16',
    'npm run -s magi1 -- verify PATH [--device D] [--adapter NAME] [--only TEXT] [--json]',
  ].map((command): NotRun => ({
    command,
    why: 'says how a command is built',
    instead: { parses: command.replace(/^(npm run -s magi1 -- |magi1 )/, '') },
  })),

  {
    command: 'python3.11 -m venv .venv && . .venv/bin/activate',
    why: 'needs Python',
    instead: { files: ['training/requirements.txt'] },
  },
  { command: 'pip install -r requirements.txt', why: 'installs', instead: { files: ['training/requirements.txt'] } },
  python('python -m pocket.tokenizer --output runs/spiece.model'),
  python('python -m pocket.train_vae --minutes 60 --weights runs/vae.safetensors'),
  python(
    'python -m pocket.train_dit --fast --minutes 90 --vae runs/vae.safetensors --scale S --spiece runs/spiece.model --dit runs/dit.safetensors --t5 runs/t5.safetensors',
  ),
  python(
    'python -m pocket.distill --fast --minutes 30 --vae runs/vae.safetensors --scale S --spiece runs/spiece.model --teacher runs/dit.safetensors --t5 runs/t5.safetensors --student runs/distilled.safetensors',
  ),
  python(
    'python -m pocket.export --output ../packages/magi1/pocket --vae runs/vae.safetensors --spiece runs/spiece.model --t5 runs/t5.safetensors --base runs/dit.safetensors --distilled runs/distilled.safetensors --scale S',
  ),
  python('python -m pocket.look --output world.png'),
  python('pocket.look --vae'),
  python('python -m pocket.golden'),
  python('python -m tiny.train --output ../examples/tiny-model/weights'),
];

/** What the documents say comes of a command, beside its success. */
export const PROMISED: Readonly<Record<string, { readonly files?: readonly string[]; readonly stdout?: RegExp }>> = {
  'npm run demo': { files: ['out/demo.mp4', 'out/demo.mp4.json'], stdout: /48 frames, 64x64, 24 fps, seed 1234/ },
  'npm run demo -- --prompt "a blue star spins" --seed 7': { stdout: /seed 7$/m },
  'npm run -s magi1 -- generate --prompt "a red circle moves to the right"': { files: ['magi1.mp4', 'magi1.mp4.json'] },
  'npm run -s magi1 -- generate --prompt "a red circle moves up" --video magi1.mp4 --output up.mp4': {
    files: ['up.mp4'],
  },
  'npm run -s magi1 -- generate --model path/to/model --prompt "A red fox in the snow" --output fox.mp4': {
    files: ['fox.mp4'],
  },
  'npm run -s magi1 -- info': { stdout: /^device \w+: .*\n[^]*^model .*config\.json\n/m },
  'npm run -s magi1 -- verify tests/fixtures/e2e --device wasm': { stdout: /^[1-9]\d* passed, 0 failed, 0 unknown$/m },
  'npm run bench -- --help': { stdout: /--quick/ },
  'node examples/node-script/generate.mjs': { files: ['star.mp4'], stdout: /star\.mp4: 48 frames/ },
  'node examples/node-script/generate.mjs path/to/model path/to/out.mp4': { files: ['path/to/out.mp4'] },
};
