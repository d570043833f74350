// magi1 verify: every golden below a folder, on one device, one line each.
import type { CacheDType } from '@magi1/kernels';
import { Device } from '@magi1/tensor';
import type { CaseResult, VerifyResult } from '../verify/run.ts';
import { DEVICE_OPTIONS, choice, text } from './command.ts';
import type { Command, Values } from './command.ts';
import { deviceOptions } from './model-options.ts';
import { catchInterrupt } from './interrupt.ts';
import { printable, printableLines } from './printable.ts';

export const verify: Command = {
  name: 'verify',
  summary: 'Runs every golden found below PATH and compares; exit status 0 only if all pass and none is unknown.',
  usage: 'magi1 verify PATH [options]',
  positionals: 1,
  options: {
    ...DEVICE_OPTIONS,
    'cache-dtype': {
      value: 'DTYPE',
      help: 'of the key-value cache: f32 (default), f16, bf16 or q8, to see what that changes',
    },
    only: { value: 'TEXT', help: 'only cases whose path contains TEXT' },
    json: { help: 'as JSON, when all is done' },
  },
  run,
};

async function run(values: Values, [path]: readonly string[]): Promise<number> {
  const only = text(values, 'only');
  const json = values.json === true;
  const cacheDType = choice<CacheDType>(values, 'cache-dtype', ['f32', 'f16', 'bf16', 'q8']);
  const { verify: verifyGoldens } = await import('../verify/run.ts');
  const device = await Device.open(deviceOptions(values));
  try {
    using interrupt = catchInterrupt(() => process.stderr.write('stopping\n'));
    process.stderr.write(`${printable(`${device.backend}: ${device.info.name} (${device.info.reason})`)}\n`);
    const result = await verifyGoldens(path!, device, {
      signal: interrupt.signal,
      cacheDType,
      only: only === undefined ? undefined : (name) => name.includes(only),
      onCase: json ? undefined : (found) => process.stdout.write(`${printable(caseLine(found))}\n`),
    });
    if (json) process.stdout.write(`${printableLines(JSON.stringify(report(result, device), null, 2))}\n`);
    else process.stdout.write(`${result.passed} passed, ${result.failed} failed, ${result.unknown} unknown\n`);
    return result.failed + result.unknown === 0 && result.passed > 0 ? 0 : 1;
  } finally {
    await device.dispose();
  }
}

function caseLine({ status, path, kind, what, maxAbs, relL2, tolerance, detail, checks, seconds }: CaseResult): string {
  const number = (value: number | null) => (value === null ? '-' : value.toExponential(2));
  return [
    status.padEnd(7),
    path,
    kind,
    checks > 1 ? `${what} (worst of ${checks})` : what,
    `max abs ${number(maxAbs)}`,
    `rel L2 ${number(relL2)}`,
    tolerance === '' ? '' : `tolerance ${tolerance}`,
    `${seconds.toFixed(1)} s`,
    detail === undefined ? '' : detail.replace(/\s*\n\s*/g, ' '),
  ]
    .filter((part) => part !== '')
    .join('  ');
}

function report({ cases, passed, failed, unknown, seconds }: VerifyResult, device: Device): object {
  return { device: device.backend, adapter: device.info.name, seconds, passed, failed, unknown, cases };
}
