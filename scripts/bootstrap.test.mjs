// The parts of the bootstrap that decide something: package sources of many shapes, what gets installed, imports, stamps.
import { describe, expect, it } from 'vitest';
import {
  BACKPORTS_FILE,
  candidateMajor,
  deriveBackports,
  describeStep,
  hasBackports,
  isDebianLike,
  parseDeb822,
  parseOneLine,
  parseOsRelease,
  parseSources,
  planInstall,
} from './apt-sources.mjs';
import { builtinProblems, importProblems, importsOf } from './check-imports.mjs';
import { renderConformance } from './verify-all.mjs';

const DEB822 = `# made by the image
Types: deb deb-src
# http://snapshot.example.invalid/archive/20250520
URIs: http://mirror.example.invalid/debian http://second.example.invalid/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example.invalid/security
Suites: bookworm-security
Components: main
`;
const INLINE_KEY = `Types: deb
URIs: https://mirror.example.invalid/debian
Suites: bookworm
Components: main
Architectures: amd64 arm64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
`;
const ONE_LINE = `
# deb http://commented.example.invalid/debian bookworm main
deb-src http://mirror.example.invalid/debian bookworm main
deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg trusted=yes] http://mirror.example.invalid/debian bookworm main contrib # note
deb http://mirror.example.invalid/security bookworm-security main
`;
const BOOKWORM = { ID: 'debian', VERSION_CODENAME: 'bookworm' };
const OLD_MESA = 'mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: 22.3.6-1+deb12u1\n';
const NEW_MESA = 'mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: 1:25.0.7-2\n';
const ALL = { lavapipe: true, swiftshader: true, ffmpeg: true };
const NONE = { lavapipe: false, swiftshader: false, ffmpeg: false };

describe('package sources', () => {
  it('reads deb822, several stanzas, comments, several addresses', () => {
    const [first, second] = parseDeb822(DEB822);
    expect(first).toEqual({
      types: ['deb', 'deb-src'],
      uris: ['http://mirror.example.invalid/debian', 'http://second.example.invalid/debian'],
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'contrib'],
      options: { 'Signed-By': '/usr/share/keyrings/archive.gpg' },
    });
    expect(second?.suites).toEqual(['bookworm-security']);
  });

  it('leaves out disabled entries', () => {
    expect(parseDeb822(`Enabled: no\n${INLINE_KEY}`)).toEqual([]);
    expect(parseDeb822(`Enabled: yes\n${INLINE_KEY}`)).toHaveLength(1);
  });

  it('reads one-line sources with options', () => {
    const sources = parseOneLine(ONE_LINE);
    expect(sources.map(({ types, suites }) => [...types, ...suites])).toEqual([
      ['deb-src', 'bookworm'],
      ['deb', 'bookworm'],
      ['deb', 'bookworm-security'],
    ]);
    expect(sources[1]).toMatchObject({
      components: ['main', 'contrib'],
      options: { Architectures: 'amd64 arm64', 'Signed-By': '/usr/share/keyrings/a.gpg', Trusted: 'yes' },
    });
  });

  it('derives backports from the release itself: address, key and options stay', () => {
    expect(deriveBackports(parseDeb822(DEB822), 'bookworm')).toBe(
      'Types: deb\nURIs: http://mirror.example.invalid/debian http://second.example.invalid/debian\n' +
        'Suites: bookworm-backports\nComponents: main contrib\nSigned-By: /usr/share/keyrings/archive.gpg\n',
    );
    expect(deriveBackports(parseOneLine(ONE_LINE), 'bookworm')).toBe(
      'Types: deb\nURIs: http://mirror.example.invalid/debian\nSuites: bookworm-backports\nComponents: main contrib\n' +
        'Architectures: amd64 arm64\nSigned-By: /usr/share/keyrings/a.gpg\nTrusted: yes\n',
    );
    expect(deriveBackports(parseDeb822(DEB822), 'trixie')).toBeUndefined();
  });

  it('carries a key written inside the source, and reads its own output back', () => {
    const text = deriveBackports(parseDeb822(INLINE_KEY), 'bookworm');
    expect(text).toContain('Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END');
    const [again] = parseDeb822(text ?? '');
    expect(again).toEqual({ ...parseDeb822(INLINE_KEY)[0], suites: ['bookworm-backports'] });
  });

  it('sees backports that are there, in either form', () => {
    const line = 'deb http://other.example.invalid/debian bookworm-backports main';
    expect(hasBackports(parseSources([{ name: 'b.list', text: line }]), 'bookworm')).toBe(true);
    expect(hasBackports(parseSources([{ name: 'b.list', text: `# ${line}` }]), 'bookworm')).toBe(false);
    const field = DEB822.replace('bookworm-updates', 'bookworm-backports');
    expect(hasBackports(parseSources([{ name: 'd.sources', text: field }]), 'bookworm')).toBe(true);
    expect(hasBackports(parseSources([{ name: 'd.sources', text: DEB822 }]), 'bookworm')).toBe(false);
  });
});

describe('planInstall', () => {
  const sources = parseDeb822(DEB822);

  it('takes an old Mesa from derived backports, after writing the source', () => {
    const plan = planInstall({ osRelease: BOOKWORM, sources, mesaPolicy: OLD_MESA, missing: ALL });
    expect('steps' in plan && plan.steps.map((step) => ('run' in step ? step.run.join(' ') : step.write))).toEqual([
      BACKPORTS_FILE,
      'apt-get update',
      'apt-get install -y --no-install-recommends chromium ffmpeg',
      'apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1',
    ]);
  });

  it('uses an existing backports entry as it is', () => {
    const [there] = parseOneLine('deb http://other.example.invalid/debian bookworm-backports main');
    const missing = { ...NONE, lavapipe: true };
    const plan = planInstall({
      osRelease: BOOKWORM,
      sources: [...sources, ...(there ? [there] : [])],
      mesaPolicy: OLD_MESA,
      missing,
    });
    expect('steps' in plan && plan.steps.map(describeStep)).toEqual([
      'apt-get update',
      'apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1',
    ]);
  });

  it('takes a stock Mesa that is new enough without backports, unless it turned out not to do', () => {
    const trixie = {
      osRelease: { ID: 'debian', VERSION_CODENAME: 'trixie' },
      sources: parseOneLine('deb http://mirror.example.invalid/debian trixie main'),
    };
    const missing = { ...NONE, lavapipe: true };
    const stock = planInstall({ ...trixie, mesaPolicy: NEW_MESA, missing });
    expect('steps' in stock && stock.steps.map(describeStep)).toEqual([
      'apt-get update',
      'apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1',
    ]);
    const forced = planInstall({ ...trixie, mesaPolicy: NEW_MESA, missing, forceBackports: true });
    expect('steps' in forced && forced.steps.map(describeStep).join('\n')).toContain('-t trixie-backports');
  });

  it('does nothing when nothing is missing', () => {
    expect(planInstall({ osRelease: BOOKWORM, sources, mesaPolicy: OLD_MESA, missing: NONE })).toEqual({ steps: [] });
  });

  it('handles derivatives, and says when it cannot help', () => {
    const ubuntu = parseOsRelease('ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="jammy"\n');
    expect(isDebianLike(ubuntu)).toBe(true);
    const missing = { ...NONE, lavapipe: true };
    const jammy = parseOneLine('deb http://archive.example.invalid/ubuntu jammy main universe');
    const plan = planInstall({ osRelease: ubuntu, sources: jammy, mesaPolicy: OLD_MESA, missing });
    expect('steps' in plan && plan.steps.map(describeStep).join('\n')).toContain('Suites: jammy-backports');
    const mint = { ID: 'linuxmint', ID_LIKE: 'ubuntu debian', VERSION_CODENAME: 'virginia' };
    expect(planInstall({ osRelease: mint, sources: jammy, mesaPolicy: OLD_MESA, missing })).toEqual({
      impossible: 'no package source of this machine holds virginia',
    });
    expect(planInstall({ osRelease: { ID: 'fedora' }, sources: [], mesaPolicy: '', missing })).toEqual({
      impossible: 'this is not a Debian system',
    });
  });

  it('reads the candidate version, with and without epoch', () => {
    expect(
      [OLD_MESA, NEW_MESA, 'N: Unable to locate package', 'x:\n  Candidate: (none)\n'].map(candidateMajor),
    ).toEqual([22, 25, undefined, undefined]);
  });
});

describe('imports', () => {
  it('are found in every form, and not in comments', () => {
    const source = `import { a } from 'a';\nimport type { b } from "b/c";\nimport 'd';\nexport * from './e.ts';\nconst f = await import('@g/h/i');
import {\n  j,\n  k,\n} from 'l';\n// import 'no';\n * import 'no';\nconst text = "from 'no'";\n`;
    expect(importsOf(source)).toEqual(['a', 'b/c', 'd', './e.ts', '@g/h/i', 'l']);
  });

  it('of this repository hold to the rules', () => {
    expect([...importProblems(), ...builtinProblems()]).toEqual([]);
  });
});

it('the conformance page has a summary, a table per device, and every failure', () => {
  const one = {
    path: 'vae/a.npz',
    kind: 'vae',
    what: 'decode',
    maxAbs: 1e-5,
    relL2: 2e-6,
    tolerance: { relL2: 1e-4 },
    status: 'pass',
    seconds: 1.25,
  };
  const bad = { ...one, path: 'vae/b.npz', relL2: 0.5, status: 'fail' };
  const report = { device: 'wasm', seconds: 3, passed: 1, failed: 1, unknown: 0, cases: [one, bad] };
  const page = renderConformance('conformance', [{ title: 'wasm', report }]);
  expect(page).toContain('| wasm | 1 | 1 | 0 | 3 |');
  expect(page).toContain('| vae | 1 | 1 | 2.5 | 0.0000100 | 0.500 | relL2 0.000100 | vae/b.npz: decode |');
  expect(page).toContain('- vae/b.npz: decode (fail)');
});
