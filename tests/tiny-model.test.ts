// examples/tiny-model: a second network on nn and kernels alone, held to what PyTorch says.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Params } from '@magi1/core/model';
import { Device } from '@magi1/tensor';
import { LETTERS, TinyModel, WEIGHTS, complete, loadTinyModel, planTinyModel } from '../examples/tiny-model/index.ts';
import { testDevices } from './support/devices.ts';

interface Golden {
  readonly text: string;
  readonly logits: readonly (readonly number[])[];
}

for (const { name, open } of testDevices()) {
  describe(name, () => {
    let device: Device;
    let model: TinyModel;
    let params: Params;
    beforeAll(async () => {
      device = await open();
      ({ model, params } = await loadTinyModel(device));
    });
    afterAll(async () => {
      params.dispose();
      expect(device.memory().tensors).toBe(0);
      await device.dispose();
    });

    test("gives PyTorch's logits", async () => {
      const goldens = JSON.parse(await readFile(new URL('logits.json', WEIGHTS), 'utf8')) as Golden[];
      expect(goldens).toHaveLength(3);
      for (const { text, logits } of goldens) {
        const got = model.forward(Array.from(text, (letter) => LETTERS.indexOf(letter)));
        const values = await got.toFloat32();
        got.dispose();
        const wanted = logits.flat();
        let [error, size] = [0, 0];
        wanted.forEach((value, i) => {
          error += (values[i]! - value) ** 2;
          size += value ** 2;
        });
        expect(Math.sqrt(error / size), text).toBeLessThan(2e-6);
      }
    });

    test('adds', async () => {
      const sums = [
        [37, 85],
        [4, 9],
        [99, 99],
        [0, 60],
      ] as const;
      for (const [a, b] of sums) {
        const answer = await complete(model, `${a}+${b}=`);
        expect(`${a}+${b}=${Array.from(answer).reverse().join('')}`).toBe(`${a}+${b}=${a + b}`);
      }
    });

    test('takes as much memory as its plan says', async () => {
      const { weights, peak } = await planTinyModel(device, 10);
      expect(device.memory().inUse).toBe(weights);
      device.resetPeak();
      const logits = model.forward(new Array<number>(10).fill(0));
      await logits.read();
      logits.dispose();
      expect(device.memory().peak).toBe(peak);
    });
  });
}
