// A table by rows. It may be too large for the device: the rows that are asked for are then read where it is stored.
import { embedding } from '@magi1/kernels';
import { Magi1Error, Tensor, scope } from '@magi1/tensor';
import type { Device, Shape } from '@magi1/tensor';

/** A table that is not on the device. */
export interface TableElsewhere {
  readonly shape: Shape;
  /** Rows in the order given, in the type that the table would have on the device; the caller disposes them. */
  read(rows: readonly number[]): Promise<Tensor>;
}

export class StoredRows {
  readonly #device: Device;
  readonly #table: Tensor | TableElsewhere;

  constructor(device: Device, table: Tensor | TableElsewhere) {
    this.#device = device;
    this.#table = table;
  }

  /** Rows by number, as often as they are named: f32 [numbers, width]. The caller disposes them. */
  async lookUp(numbers: ArrayLike<number>): Promise<Tensor> {
    const all = Array.from(numbers);
    const table = this.#table;
    const rows = table.shape[0]!;
    const wrong = all.find((number) => !(Number.isInteger(number) && number >= 0 && number < rows));
    if (wrong !== undefined) throw new Magi1Error(`a table of ${rows} rows has no row ${wrong}`);
    const lookedUp = (ids: readonly number[], from: Tensor) =>
      scope(() => embedding(this.#device.tensor(ids, [ids.length], 'i32'), from));
    if (table instanceof Tensor) return lookedUp(all, table);
    const distinct = [...new Set(all)].sort((a, b) => a - b);
    const places = new Map(distinct.map((number, i) => [number, i]));
    using read = await table.read(distinct);
    return lookedUp(
      all.map((number) => places.get(number)!),
      read,
    );
  }
}
