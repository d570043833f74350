// What a rehearsal took, stage by stage, beside what was planned.

/** @typedef {import('./meter.mjs').Taken & { peakDeviceBytes?: number }} Stage */

/** As the tables have it. */
export const gib = (/** @type {number} */ bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
export const seconds = (/** @type {number} */ count) => `${count.toFixed(1)} s`;

/** @param {any} run by `planAndRun` */
export function tableOf({ model, layers, bits, width, height, frames, steps, options, stages, plan, facts }) {
  const rows = Object.entries(stages).map(([name, taken]) => [
    name,
    seconds(taken.seconds),
    seconds(taken.cpuSeconds),
    taken.peakDeviceBytes === undefined ? '' : gib(taken.peakDeviceBytes),
    gib(taken.peakBytes),
    gib(taken.readBytes),
  ]);
  const inAll = Object.values(stages);
  const most = (/** @type {(stage: Stage) => number} */ of) => Math.max(...inAll.map(of));
  const sum = (/** @type {(stage: Stage) => number} */ of) => inAll.reduce((all, stage) => all + of(stage), 0);
  const device = most(({ peakDeviceBytes = 0 }) => peakDeviceBytes);
  rows.push([
    'in all',
    seconds(sum((stage) => stage.seconds)),
    seconds(sum((stage) => stage.cpuSeconds)),
    gib(device),
    gib(most(({ peakBytes }) => peakBytes)),
    gib(sum(({ readBytes }) => readBytes)),
  ]);
  const header = ['stage', 'time', 'processor', 'device peak', 'process peak', 'read'];
  const line = (/** @type {readonly string[]} */ cells) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(11) : cell.padStart(14))).join('');
  const { planned } = plan.peak;
  const ratio = planned === null ? '' : ` by ${((100 * planned) / device - 100).toFixed(1)} %`;
  const cut = layers === undefined ? '' : `, ${layers} layers`;
  const choices = Object.entries(options)
    .map(([name, value]) => `, --${name} ${value}`)
    .join('');
  const time = plan.time;
  const own = facts.seconds;
  return [
    `${model}${cut}, ${bits} bits, ${width}x${height}, ${frames} frames, ${steps} steps${choices}, on ${facts.device.name}`,
    line(header),
    ...rows.map(line),
    `peak: ${planned === null ? 'unknown' : gib(planned)} planned, ${gib(device)} measured on the device${ratio === '' ? '' : `: the plan is off${ratio}`}`,
    ...(time == null
      ? []
      : [
          `time: ${seconds(time.seconds)} estimated for text, denoising and decoding, ${seconds(own.text + own.denoising + own.decoding)} measured`,
        ]),
  ].join('\n');
}

/**
 * @param {readonly { build: string, taken: import('./meter.mjs').Taken }[]} rows this build's first
 * @param {number | undefined} flops of the run
 */
export function comparison(rows, flops) {
  const [own, other] = rows.map(({ taken }) => taken.cpuSeconds);
  return [
    'magi1 generate, cold files to mp4, the whole process:',
    ...rows.map(
      ({ build, taken }) =>
        `${build.padEnd(26)}${seconds(taken.cpuSeconds)} of processor time, ${seconds(taken.seconds)} by the clock, peak ${gib(taken.peakBytes)}, ${gib(taken.readBytes)} read`,
    ),
    `processor time: ${(own / other).toFixed(3)} of the other build's${flops === undefined ? '' : `; the arithmetic of both: ${(flops / 1e12).toFixed(2)} TFLOP`}`,
  ].join('\n');
}

/** Every run in a row, in Markdown. @param {readonly any[]} runs */
export function overview(runs) {
  const row = (/** @type {readonly (string | number)[]} */ cells) => `| ${cells.join(' | ')} |`;
  const titles = [
    'bits',
    'size',
    'offload',
    'cache',
    'planned, GiB',
    'device peak, GiB',
    'ratio',
    'process peak, GiB',
    'read, GiB',
    'estimated, s',
    'computed, s',
    'loading, s',
    'processor, s',
  ];
  const plain = (/** @type {number} */ bytes) => (bytes / 2 ** 30).toFixed(2);
  return [
    row(titles),
    row(titles.map(() => '---')),
    ...runs.map(({ bits, width, height, stages, plan, facts }) => {
      const own = { ...stages, download: undefined, quantising: undefined };
      const all = /** @type {Stage[]} */ (Object.values(own).filter((stage) => stage !== undefined));
      const device = Math.max(...all.map(({ peakDeviceBytes = 0 }) => peakDeviceBytes));
      const sum = (/** @type {(stage: Stage) => number} */ of) => all.reduce((total, stage) => total + of(stage), 0);
      const { text, encoding, denoising, decoding, loading } = facts.seconds;
      return row([
        bits,
        `${width}x${height}`,
        facts.offload ?? plan.fit.offload ?? plan.fit.residency ?? '',
        facts.settings.cacheDType,
        plain(plan.peak.planned),
        plain(device),
        (plan.peak.planned / device).toFixed(3),
        plain(Math.max(...all.map(({ peakBytes }) => peakBytes))),
        plain(sum(({ readBytes }) => readBytes)),
        plan.time?.seconds.toFixed(1) ?? '',
        (text + encoding + denoising + decoding).toFixed(1),
        (own.loading?.seconds ?? loading).toFixed(1),
        sum(({ cpuSeconds }) => cpuSeconds).toFixed(0),
      ]);
    }),
  ].join('\n');
}
