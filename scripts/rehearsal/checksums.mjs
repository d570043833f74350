// Checksums of made files, kept between runs: a checkpoint of tens of gigabytes takes a minute to go through.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../processes.mjs';

/** What the made bytes follow from. */
const SOURCES = ['values.mjs', 'files.mjs', 'repository.mjs'];

export class Checksums {
  #path;
  /** @type {Record<string, string | number>} */
  #known = {};

  constructor(folder = join(ROOT, 'node_modules', '.cache', 'rehearsal')) {
    const source = createHash('sha256');
    for (const name of SOURCES) source.update(readFileSync(join(import.meta.dirname, name)));
    this.#path = join(folder, `checksums-${source.digest('hex').slice(0, 16)}.json`);
    try {
      this.#known = JSON.parse(readFileSync(this.#path, 'utf8'));
    } catch {
      // Nothing is known yet.
    }
  }

  /** @template {string | number} Sum @param {string} key @param {() => Sum} make @returns {Sum} */
  of(key, make) {
    if (Object.hasOwn(this.#known, key)) return /** @type {Sum} */ (this.#known[key]);
    const sum = make();
    this.#known[key] = sum;
    mkdirSync(dirname(this.#path), { recursive: true });
    writeFileSync(`${this.#path}.${process.pid}`, JSON.stringify(this.#known));
    renameSync(`${this.#path}.${process.pid}`, this.#path);
    return sum;
  }
}
