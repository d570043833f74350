// A buffer for the small host data of many dispatches: filled on the host, written once per submit, then reused.
// One buffer is enough because writes and submits run in order on the queue.

/** Slots start at multiples of this: WebGPU's largest alignment of binding offsets. */
const SLOT = 256;

export class Arena {
  readonly #gpu: GPUDevice;
  readonly #label: string;
  readonly #usage: GPUBufferUsageFlags;
  #used = 0;
  #buffer: GPUBuffer;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #generation = 0;

  constructor(gpu: GPUDevice, label: string, usage: GPUBufferUsageFlags, capacity: number) {
    this.#gpu = gpu;
    this.#label = label;
    this.#usage = usage;
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
    this.#buffer = gpu.createBuffer({ label, size: capacity, usage });
  }

  get buffer(): GPUBuffer {
    return this.#buffer;
  }
  /** Changes with the buffer: part of the keys of bind groups. */
  get generation(): number {
    return this.#generation;
  }
  get byteLength(): number {
    return this.#bytes.byteLength;
  }
  get view(): DataView {
    return this.#view;
  }
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Makes room for slots of `byteLength` in all; `submit` is called first when what was taken is in the way. */
  reserve(byteLength: number, submit: () => void): void {
    if (this.#used + byteLength <= this.byteLength) return;
    submit();
    if (byteLength > this.byteLength) this.#grow(2 ** Math.ceil(Math.log2(byteLength)));
  }

  /** The offset of a slot of `byteLength` bytes, reserved before. */
  take(byteLength: number): number {
    const offset = this.#used;
    this.#used += Math.ceil(byteLength / SLOT) * SLOT;
    return offset;
  }

  /** Writes what was taken to the GPU and empties the arena. Call it just before the submit that uses it. */
  upload(): void {
    if (this.#used > 0) this.#gpu.queue.writeBuffer(this.#buffer, 0, this.#bytes, 0, this.#used);
    this.#used = 0;
  }

  /** Forgets what was taken. */
  drop(): void {
    this.#used = 0;
  }

  #grow(capacity: number): void {
    this.#buffer.destroy();
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
    this.#buffer = this.#gpu.createBuffer({ label: this.#label, size: capacity, usage: this.#usage });
    this.#generation++;
  }
}
