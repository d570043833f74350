// Reads a Debian machine's package sources (deb822 and one-line) and plans what to install; pure functions without side
// effects. Addresses always come from the machine's own sources, never from here.

/**
 * @typedef {object} Source
 * @property {string[]} types
 * @property {string[]} uris
 * @property {string[]} suites
 * @property {string[]} components
 * @property {Record<string, string>} options deb822 fields such as Signed-By, as written (continuation lines included)
 */

/** deb822 name of each option that a one-line source can hold. @type {Record<string, string>} */
const OPTION_FIELDS = {
  arch: 'Architectures',
  lang: 'Languages',
  target: 'Targets',
  'signed-by': 'Signed-By',
  trusted: 'Trusted',
  'check-valid-until': 'Check-Valid-Until',
  'check-date': 'Check-Date',
  'allow-insecure': 'Allow-Insecure',
  'by-hash': 'By-Hash',
};

/** @param {string | undefined} value */
const words = (value) => (value ?? '').split(/\s+/).filter((word) => word !== '');

/** Parses the text of a `.sources` file. Disabled entries are left out. @param {string} text @returns {Source[]} */
export function parseDeb822(text) {
  return text.split(/\n[ \t]*\n/).flatMap((stanza) => {
    /** @type {Record<string, string>} */
    const fields = {};
    let last = '';
    for (const line of stanza.split('\n')) {
      if (line.startsWith('#')) continue;
      const field = /^([A-Za-z][\w-]*):[ \t]*(.*)$/.exec(line);
      if (field !== null) {
        last = /** @type {string} */ (field[1]).toLowerCase();
        fields[last] = /** @type {string} */ (field[2]);
      } else if (/^[ \t]/.test(line) && last !== '') fields[last] += `\n${line}`;
    }
    const { types, uris, suites, components, enabled, ...rest } = fields;
    if (types === undefined || uris === undefined || /^(no|false|0)$/i.test((enabled ?? '').trim())) return [];
    const known = new Map(Object.values(OPTION_FIELDS).map((name) => [name.toLowerCase(), name]));
    const options = Object.fromEntries(
      Object.entries(rest).flatMap(([name, value]) => (known.has(name) ? [[known.get(name), value]] : [])),
    );
    return [{ types: words(types), uris: words(uris), suites: words(suites), components: words(components), options }];
  });
}

/** Parses the text of a `.list` file. @param {string} text @returns {Source[]} */
export function parseOneLine(text) {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)([^#]*)/.exec(line);
    if (match === null) return [];
    const [, type = '', bracket, uri = '', suite = '', components = ''] = match;
    const options = Object.fromEntries(
      words(bracket).flatMap((option) => {
        const [key = '', value = ''] = option.split(/[+-]?=(.*)/s);
        const field = OPTION_FIELDS[key.toLowerCase()];
        return field === undefined ? [] : [[field, value.replaceAll(',', ' ')]];
      }),
    );
    return [{ types: [type], uris: [uri], suites: [suite], components: words(components), options }];
  });
}

/** @param {readonly { name: string, text: string }[]} files sources.list and what lies in sources.list.d */
export function parseSources(files) {
  return files.flatMap(({ name, text }) => (name.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text)));
}

/** @param {readonly Source[]} sources @param {string} suite */
const binarySource = (sources, suite) =>
  sources.find(({ types, suites }) => types.includes('deb') && suites.includes(suite));

/** Whether a release's backports are among the sources. @param {readonly Source[]} sources @param {string} codename */
export function hasBackports(sources, codename) {
  return binarySource(sources, `${codename}-backports`) !== undefined;
}

/**
 * A deb822 source for the release's backports at the address of the release itself; undefined when no source has it.
 * @param {readonly Source[]} sources
 * @param {string} codename
 */
export function deriveBackports(sources, codename) {
  const release = binarySource(sources, codename);
  if (release === undefined) return undefined;
  const fields = {
    Types: 'deb',
    URIs: release.uris.join(' '),
    Suites: `${codename}-backports`,
    Components: release.components.join(' '),
    ...release.options,
  };
  return Object.entries(fields)
    .map(([name, value]) => `${name}: ${value}\n`)
    .join('');
}

/** Values of /etc/os-release. @param {string} text @returns {Record<string, string>} */
export function parseOsRelease(text) {
  return Object.fromEntries(
    text.split('\n').flatMap((line) => {
      const match = /^(\w+)=(["']?)(.*)\2\s*$/.exec(line);
      return match === null ? [] : [[match[1], match[3]]];
    }),
  );
}

/** @param {Record<string, string>} osRelease */
export function isDebianLike(osRelease) {
  return [osRelease.ID, ...words(osRelease.ID_LIKE)].includes('debian');
}

/** Upstream major of the candidate that `apt-cache policy` prints. @param {string} policy */
export function candidateMajor(policy) {
  const match = /^\s*Candidate:\s*(?:\d+:)?(\d+)/m.exec(policy);
  return match === null ? undefined : Number(match[1]);
}

/** Oldest Mesa whose lavapipe Dawn takes; 22.3 lacks dynamic indexing of uniform and storage arrays. */
export const OLDEST_MESA = 23;
export const BACKPORTS_FILE = '/etc/apt/sources.list.d/magi1-backports.sources';

/**
 * @typedef {{ run: string[] } | { write: string, text: string }} Step
 * @typedef {{ lavapipe: boolean, swiftshader: boolean, ffmpeg: boolean }} Missing
 */

/**
 * What to do, in order, so that the missing pieces are there; or why that cannot be said.
 * @param {{ osRelease: Record<string, string>, sources: readonly Source[], mesaPolicy: string, missing: Missing,
 *   forceBackports?: boolean }} machine
 * @returns {{ steps: Step[] } | { impossible: string }}
 */
export function planInstall({ osRelease, sources, mesaPolicy, missing, forceBackports = false }) {
  if (!isDebianLike(osRelease)) return { impossible: 'this is not a Debian system' };
  /** @type {Step[]} */
  const before = [];
  /** @type {Step[]} */
  const steps = [];
  const plain = [...(missing.swiftshader ? ['chromium'] : []), ...(missing.ffmpeg ? ['ffmpeg'] : [])];
  const drivers = ['mesa-vulkan-drivers', 'libvulkan1'];
  const install = ['apt-get', 'install', '-y', '--no-install-recommends'];
  if (missing.lavapipe) {
    if (!forceBackports && (candidateMajor(mesaPolicy) ?? 0) >= OLDEST_MESA) plain.push(...drivers);
    else {
      const codename = osRelease.VERSION_CODENAME;
      if (codename === undefined) return { impossible: '/etc/os-release names no release' };
      if (!hasBackports(sources, codename)) {
        const text = deriveBackports(sources, codename);
        if (text === undefined) return { impossible: `no package source of this machine holds ${codename}` };
        before.push({ write: BACKPORTS_FILE, text });
      }
      steps.push({ run: [...install, '-t', `${codename}-backports`, ...drivers] });
    }
  }
  if (plain.length > 0) steps.unshift({ run: [...install, ...plain] });
  return { steps: steps.length === 0 ? [] : [...before, { run: ['apt-get', 'update'] }, ...steps] };
}

/** A step as a line for a shell. @param {Step} step */
export function describeStep(step) {
  if ('run' in step) return step.run.join(' ');
  return `cat > ${step.write} <<'EOF'\n${step.text}EOF`;
}
