// Weights that are brought block by block: while a block computes, those of the next one come, into the room of the one
// before. A network asks for its blocks in order and knows no more than that; where the bytes come from is told from outside.
import { Magi1Error } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';

/** A way through the blocks of a network, one after the other. */
export interface BlockPass {
  /** Resolves when the weights of a block are there; those of others may go. Ask for blocks in order. */
  reach(block: number): Promise<void>;
  /** To be called when the last block is done, or none will be asked for any more. */
  end(): Promise<void>;
}

/** What networks, and whoever loads and frees them, see of it. */
export interface BlockStream {
  /** @param path of the blocks: `<path>.0`, `<path>.1`, ... */
  pass(path: string, signal: AbortSignal | undefined): Promise<BlockPass | undefined>;
  /**
   * Changes a weight each time after it was brought, from now on; undefined: never again. False for a weight that stays on
   * the device.
   */
  change(name: string, change: WeightChange | undefined): Promise<boolean>;
  /** Gives all room back, once nobody is under way. */
  rest(): Promise<void>;
  /** Ends what is under way. The tensors that are still being written are freed when that has stopped; these come back. */
  dispose(): ReadonlySet<Tensor>;
}

/** Changes the bytes of a weight on the device. */
export type WeightChange = (signal: AbortSignal | undefined) => Promise<void>;

/** Weights of one block, by name. */
export interface StreamedBlock {
  readonly path: string;
  readonly index: number;
  readonly weights: readonly string[];
}

/** Writes what is stored into the named weights, which have bytes that nothing recorded uses. */
export type Fetch = (weights: readonly string[], signal: AbortSignal) => Promise<void>;

/** The blocks among a network's weights, in order; `isStreamed` leaves out the weights that stay on the device. */
export function blocksAmong(
  names: Iterable<string>,
  paths: readonly string[],
  isStreamed: (name: string) => boolean,
): StreamedBlock[] {
  const blocks = new Map<string, { path: string; index: number; weights: string[] }>();
  for (const name of names) {
    const path = paths.find((each) => name.startsWith(`${each}.`));
    if (path === undefined || !isStreamed(name)) continue;
    const index = Number(/^\d+/.exec(name.slice(path.length + 1))![0]);
    const key = `${path}.${index}`;
    const block = blocks.get(key) ?? { path, index, weights: [] };
    block.weights.push(name);
    blocks.set(key, block);
  }
  return [...blocks.values()].sort((a, b) => paths.indexOf(a.path) - paths.indexOf(b.path) || a.index - b.index);
}

/** Bytes of the two neighbouring blocks that take most: all that is on the device of them at a time. */
export function roomOf(blocks: readonly StreamedBlock[], bytesOf: (name: string) => number): number {
  const bytes = (block: StreamedBlock) => block.weights.reduce((sum, name) => sum + bytesOf(name), 0);
  let most = 0;
  for (const block of blocks) {
    const next = following(blocks, block);
    most = Math.max(most, bytes(block) + (next === block ? 0 : bytes(next)));
  }
  return most;
}

/** The block after one; after the last comes the first, for the next pass. */
function following(blocks: readonly StreamedBlock[], { path, index }: StreamedBlock): StreamedBlock {
  const find = (wanted: number) => blocks.find((block) => block.path === path && block.index === wanted);
  return find(index + 1) ?? find(0)!;
}

/** Settles when a block is on the device, or could not be brought; never rejects. */
type Filling = Promise<{ readonly error?: unknown }>;

export class WeightStreamer implements BlockStream {
  readonly #device: Device;
  readonly #blocks: readonly StreamedBlock[];
  readonly #tensorOf: (name: string) => Tensor;
  readonly #fetch: Fetch;
  /** Blocks with bytes on the device. */
  readonly #here = new Set<StreamedBlock>();
  /** The block that is being brought, or was last. */
  #coming: { readonly block: StreamedBlock; readonly filling: Filling; settled: boolean } | undefined;
  readonly #changes = new Map<string, WeightChange>();
  readonly #disposed = new AbortController();
  /** Passes come one after the other: they share the room. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param tensorOf gives the blocks' weights, which are all evicted */
  constructor(device: Device, blocks: readonly StreamedBlock[], tensorOf: (name: string) => Tensor, fetch: Fetch) {
    this.#device = device;
    [this.#blocks, this.#tensorOf, this.#fetch] = [blocks, tensorOf, fetch];
  }

  async pass(path: string, signal: AbortSignal | undefined): Promise<BlockPass | undefined> {
    const blocks = this.#blocks.filter((block) => block.path === path);
    if (blocks.length === 0) return undefined;
    const release = await this.#exclusive();
    const stop = new AbortController();
    const abort = () => stop.abort(signal?.reason);
    const dispose = () => stop.abort(this.#disposed.signal.reason);
    signal?.addEventListener('abort', abort);
    this.#disposed.signal.addEventListener('abort', dispose);
    if (signal?.aborted) abort();
    if (this.#disposed.signal.aborted) dispose();
    return {
      reach: async (index) => {
        const block = blocks[index]!;
        stop.signal.throwIfAborted();
        if (this.#coming?.block !== block && !this.#here.has(block)) this.#bring(block, block, stop.signal);
        const coming = this.#coming?.block === block ? this.#coming : undefined;
        const { error } = (await coming?.filling) ?? {};
        if (error !== undefined) {
          this.#coming = undefined;
          throw error as Error;
        }
        const next = blocks[index + 1] ?? blocks[0]!;
        if (!this.#here.has(next)) this.#bring(next, block, stop.signal);
      },
      end: async () => {
        // A fault of what comes for the next pass is that pass's: it asks again.
        const { error } = (await this.#coming?.filling) ?? {};
        if (error !== undefined) this.#coming = undefined;
        signal?.removeEventListener('abort', abort);
        this.#disposed.signal.removeEventListener('abort', dispose);
        release();
      },
    };
  }

  async change(name: string, change: WeightChange | undefined): Promise<boolean> {
    const block = this.#blocks.find(({ weights }) => weights.includes(name));
    if (block === undefined) return false;
    const release = await this.#exclusive();
    if (change === undefined) this.#changes.delete(name);
    else this.#changes.set(name, change);
    this.#evict(block);
    release();
    return true;
  }

  async rest(): Promise<void> {
    const release = await this.#exclusive();
    for (const block of [...this.#here]) this.#evict(block);
    release();
  }

  dispose(): ReadonlySet<Tensor> {
    this.#disposed.abort(new Magi1Error('the network was disposed'));
    const coming = this.#coming;
    if (coming === undefined || coming.settled) return new Set();
    const busy = new Set(coming.block.weights.map((name) => this.#tensorOf(name)));
    void coming.filling.then(() => {
      for (const tensor of busy) tensor.dispose();
    });
    return busy;
  }

  /** Begins to bring a block into the room of all that are neither it nor `kept`. */
  #bring(block: StreamedBlock, kept: StreamedBlock, signal: AbortSignal): void {
    const coming = {
      block,
      settled: false,
      filling: this.#fill(block, kept, signal).then(
        () => {
          coming.settled = true;
          return {};
        },
        (error: unknown) => {
          this.#evict(block); // before it counts as settled: whoever waits for it is told the error
          coming.settled = true;
          return { error };
        },
      ),
    };
    this.#coming = coming;
  }

  async #fill(block: StreamedBlock, kept: StreamedBlock, signal: AbortSignal): Promise<void> {
    const spare: Tensor[] = [];
    for (const other of [...this.#here]) {
      if (other === kept || other === block) continue;
      this.#here.delete(other);
      spare.push(...this.#tensorsOf(other).filter(({ resident }) => resident));
    }
    this.#here.add(block);
    const lacking: [string, Tensor][] = [];
    for (const name of block.weights) {
      const tensor = this.#tensorOf(name);
      const donor = spare.findIndex(({ byteLength }) => byteLength === tensor.byteLength);
      if (donor < 0) lacking.push([name, tensor]);
      else tensor.takeBytes(spare.splice(donor, 1)[0]!);
    }
    for (const tensor of spare) tensor.evict();
    for (const [name, tensor] of lacking) tensor.restore({ weight: true, name });
    // Fresh bytes may be those of tensors that recorded work still reads.
    if (lacking.length > 0) await this.#device.sync(signal);
    signal.throwIfAborted();
    await this.#fetch(block.weights, signal);
    for (const name of block.weights) await this.#changes.get(name)?.(signal);
  }

  #evict(block: StreamedBlock): void {
    this.#here.delete(block);
    if (this.#coming?.block === block && this.#coming.settled) this.#coming = undefined;
    for (const tensor of this.#tensorsOf(block)) if (tensor.resident) tensor.evict();
  }

  #tensorsOf({ weights }: StreamedBlock): Tensor[] {
    return weights.map((name) => this.#tensorOf(name));
  }

  /** Resolves to what ends this turn, when those before have ended. */
  async #exclusive(): Promise<() => void> {
    const before = this.#turn;
    let end!: () => void;
    this.#turn = new Promise<void>((resolve) => (end = resolve));
    await before;
    return end;
  }
}
