// What the tests need from the machine besides Node: a WebGPU adapter and ffmpeg. Installs them on Debian where that is
// allowed, else says how to.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adapterEnvironment, driversChosen, LAVAPIPE, SWIFTSHADER } from './adapter.mjs';
import { describeStep, parseOsRelease, parseSources, planInstall } from './apt-sources.mjs';
import { capture, foreground, say, starts, Stop } from './processes.mjs';

/** @typedef {import('./apt-sources.mjs').Missing} Missing */

async function readMachine() {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => /\.(list|sources)$/.test(name)) : [];
  const paths = ['/etc/apt/sources.list', ...files.sort().map((name) => join(folder, name))];
  const osRelease = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  return {
    osRelease: parseOsRelease(osRelease),
    sources: parseSources(
      paths.filter((path) => existsSync(path)).map((path) => ({ name: path, text: readFileSync(path, 'utf8') })),
    ),
    mesaPolicy: (
      await capture('apt-cache', ['policy', 'mesa-vulkan-drivers'], { env: { ...process.env, LC_ALL: 'C' } })
    ).stdout,
  };
}

/** @param {Missing} missing @param {boolean} forceBackports @param {boolean} dryRun */
async function install(missing, forceBackports, dryRun) {
  // A machine that was never updated knows no candidate at all.
  let machine = await readMachine();
  if (missing.lavapipe && !/Candidate: \d/.test(machine.mesaPolicy) && !dryRun) {
    say('+ apt-get update');
    await foreground('apt-get', ['update'], { toStderr: true });
    machine = await readMachine();
  }
  const plan = planInstall({ ...machine, missing, forceBackports });
  if ('impossible' in plan) throw new Stop(`Cannot install on this machine: ${plan.impossible}.`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const step of plan.steps) {
    say(`+ ${describeStep(step)}`);
    if (dryRun) continue;
    if ('write' in step) writeFileSync(step.write, step.text);
    else {
      const [command = '', ...args] = step.run;
      const status = await foreground(command, args, { env, toStderr: true });
      if (status !== 0) throw new Stop(`${step.run.join(' ')} ended with status ${status}; the reason is above.`);
    }
  }
}

async function look() {
  const found = await adapterEnvironment();
  const names = found.adapters.map(({ name }) => name);
  const ffmpeg = (await starts('ffmpeg', '-version')) && (await starts('ffprobe', '-version'));
  return {
    ...found,
    missing: { lavapipe: !names.includes(LAVAPIPE), swiftshader: !names.includes(SWIFTSHADER), ffmpeg: !ffmpeg },
  };
}

/**
 * Finds the adapters and ffmpeg, installing what is missing when allowed. Throws Stop with the commands to run when the
 * tests could not run.
 * @param {{ webgpu: boolean, installAdapter: boolean, dryRun?: boolean }} options
 * @returns {Promise<Record<string, string>>} variables for the tests
 */
export async function ensureSystem({ webgpu, installAdapter, dryRun = false }) {
  const root = process.getuid?.() === 0;
  const allowed = root && (installAdapter || process.env.CI === 'true');
  let state = await look();
  // Drivers that the user has chosen are all there is: installing others would change nothing.
  const drivers = webgpu && !driversChosen();
  /** @returns {Missing} */
  const wanted = () => ({
    lavapipe: drivers && state.missing.lavapipe,
    swiftshader: drivers && state.missing.swiftshader,
    ffmpeg: state.missing.ffmpeg,
  });
  const enough = () => (!webgpu || state.adapters.length > 0) && !state.missing.ffmpeg;

  if (dryRun) {
    const { lavapipe, swiftshader, ffmpeg } = wanted();
    say(`missing: ${JSON.stringify({ lavapipe, swiftshader, ffmpeg })}; would install: ${allowed}`);
    await install(wanted(), false, true);
    return state.env;
  }
  if (allowed && Object.values(wanted()).some(Boolean)) {
    say('Installing what the tests need and this machine lacks (root, and CI=true or --install-adapter):');
    await install(wanted(), false, false);
    state = await look();
    if (wanted().lavapipe) {
      say("The release's own Mesa does not do; trying its backports:");
      await install({ lavapipe: true, swiftshader: false, ffmpeg: false }, true, false);
      state = await look();
    }
  }
  if (!enough()) throw new Stop(await remedy(wanted(), state.failures, webgpu && state.adapters.length === 0));
  if (webgpu) {
    for (const { name, description } of state.adapters) say(`WebGPU adapter: ${name} (${description})`);
    const { lavapipe, swiftshader } = state.missing;
    const absent = [...(lavapipe ? [LAVAPIPE] : []), ...(swiftshader ? [SWIFTSHADER] : [])];
    if (absent.length > 0) say(`NOTE: not tested, because it is not on this machine: ${absent.join(', ')}`);
  }
  return state.env;
}

/** @param {Missing} missing @param {readonly string[]} failures @param {boolean} noAdapter */
async function remedy(missing, failures, noAdapter) {
  const lacks = [...(noAdapter ? ['a usable WebGPU adapter'] : []), ...(missing.ffmpeg ? ['ffmpeg'] : [])];
  const lines = [
    `The tests need ${lacks.join(' and ')}, which this machine lacks.`,
    ...failures.map((line) => `  ${line}`),
  ];
  if (noAdapter && driversChosen()) {
    lines.push(
      'VK_DRIVER_FILES or VK_ICD_FILENAMES is set, so no other driver was tried; unset it to use what is installed.',
    );
  }
  if (!Object.values(missing).some(Boolean)) return lines.join('\n');
  const plan = planInstall({ ...(await readMachine()), missing });
  if ('steps' in plan) {
    lines.push('As root, run', ...plan.steps.map((step) => describeStep(step)), 'or: npm test -- --install-adapter');
  } else {
    lines.push(
      `Install a Vulkan driver (a GPU's, or Mesa 23 or newer with lavapipe) and ffmpeg with libx264 (${plan.impossible}).`,
    );
  }
  if (noAdapter) lines.push('To leave the WebGPU tests out: npm test -- --no-webgpu');
  return lines.join('\n');
}
