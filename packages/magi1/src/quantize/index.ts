// Models in 8 or 4 bits. What needs Node is imported when it is called, so that a browser can import this file.
import type { Folder } from '@magi1/loaders';
import type { PlanQuantizeOptions, QuantizeOptions, QuantizePlan, QuantizedModel } from './node/quantize.ts';

export type { PlanQuantizeOptions, QuantizeOptions, QuantizePlan, QuantizedModel } from './node/quantize.ts';
export type { Bits, QuantizedPart } from './model-plan.ts';
export type { NetworkName } from './network-names.ts';

/**
 * Opens a model, checks it and says what its quantised form will be; nothing is written. `plan.run()` makes it.
 * @param source a model folder by its path or as a Folder, or a config file of the original
 * @param destination the folder that the new model will be; it is made
 * @throws Magi1Error where the model does not fit its config, is quantised already, or lies where the new one would
 */
export async function planQuantize(
  source: string | URL | Folder,
  destination: string,
  options: PlanQuantizeOptions,
): Promise<QuantizePlan> {
  return (await import('./node/quantize.ts')).planQuantize(source, destination, options);
}

/**
 * Makes a model folder with weights in 8 or 4 bits (dtypes q8 and q4) that pipelines open like any other. It grows beside its
 * place, in bounded memory; a run that ended early goes on where it was, with the same result. For Node.
 */
export async function quantizeModel(
  source: string | URL | Folder,
  destination: string,
  options: PlanQuantizeOptions & QuantizeOptions,
): Promise<QuantizedModel> {
  return (await planQuantize(source, destination, options)).run(options);
}
