// The WGSL of every program and variant that the case tables lead to: its interface agrees with what the runtime packs
// and binds, and its text is kept in packages/kernels/snapshots (after a wanted change: vitest run tests/wgsl.test.ts -u).
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { AnyCase } from '@magi1/tensor';
import type * as WgslReflectModule from 'wgsl_reflect';
import { packParams, PARAMS_BYTES } from '@magi1/tensor';
import { kernelsFolder, loadOps, rooms } from './support/all-ops.ts';
import { CAPABILITIES, planCase, programsOf } from './support/programs.ts';

// The package's main file for Node is CommonJS under an ES module's name and cannot be loaded.
const reflectModule = 'wgsl_reflect/wgsl_reflect.module.js';
const { WgslReflect } = (await import(reflectModule)) as typeof WgslReflectModule;

const ops = (await loadOps()).filter((op) => op.webgpu !== undefined);
const snapshots = join(kernelsFolder, 'snapshots');
const snapshotName = (key: string) => `${key.replaceAll(',', '.').replaceAll(/[^\w.=-]/g, '_')}.wgsl`;
const expectedFiles = new Set<string>();

describe.each(ops.map((op) => ({ name: op.name, op })))('$name', ({ op }) => {
  for (const [key, { expanded }] of programsOf(op, Object.values(CAPABILITIES))) {
    expectedFiles.add(snapshotName(key));
    test(`${key}: shader and runtime agree`, () => {
      const shader = new WgslReflect(expanded.code);
      expect(shader.entry.compute.map((entry) => entry.name)).toEqual(['main']);
      const storage = shader.storage.map((v) => [v.group, v.binding, v.name, v.access]);
      expect(storage).toEqual(expanded.bindings.map(({ name, access }, i) => [0, i + 1, name, access]));
      expect(storage.length).toBeLessThanOrEqual(8);
      const members = shader.uniforms[0]?.members ?? [];
      expect(members.map((m) => [m.name, m.type.name])).toEqual(expanded.params);
      // The packer writes where the shader reads.
      expanded.params.forEach(([name], position) => {
        const view = new DataView(new ArrayBuffer(PARAMS_BYTES));
        packParams(
          op.name,
          expanded,
          Object.fromEntries(expanded.params.map(([other]) => [other, other === name ? 1 : 0])),
          view,
          0,
        );
        expect(view.getUint32(members[position]!.offset, true)).not.toBe(0);
      });
    });
    // Drivers turn such a divisor into a multiplication and fold the others, also for NaN: the number must be a parameter.
    test(`${key}: no literal that compilers fold`, () => {
      const code = expanded.code.replaceAll(/\/\/.*/g, '');
      const divisor = /\/ *(?:\w+\()?\d+\.\d*/g;
      const zeroFactor = /\* *(?:\w+\()?0+\.0*(?!\d)/g;
      const addedAndTaken = /\+ *(\d+\.\d+)\) *- *\1/g;
      expect([divisor, zeroFactor, addedAndTaken].flatMap((pattern) => code.match(pattern) ?? [])).toEqual([]);
    });
    test(`${key}: snapshot`, async () => {
      await expect(expanded.code).toMatchFileSnapshot(join(snapshots, snapshotName(key)));
    });
  }

  test('parameters and grids of all cases are valid on every kind of adapter', () => {
    for (const opCase of op.cases as readonly AnyCase[]) {
      for (const capabilities of Object.values(CAPABILITIES)) {
        for (const { expanded, dispatch } of planCase(op, opCase, capabilities)) {
          packParams(op.name, expanded, dispatch.params, new DataView(new ArrayBuffer(PARAMS_BYTES)), 0);
          for (const count of dispatch.workgroups) {
            expect(Number.isInteger(count) && count >= 0 && count <= capabilities.maxWorkgroupsPerDimension).toBe(true);
          }
        }
      }
    }
  });
});

test.runIf(rooms === undefined)('no snapshot is left over', () => {
  const files = existsSync(snapshots) ? readdirSync(snapshots).filter((file) => file.endsWith('.wgsl')) : [];
  expect(files.filter((file) => !expectedFiles.has(file))).toEqual([]);
});
