// What a conformance kit contributes to `magi1 verify`: cases found in a folder, each with its comparisons.
import type { CacheDType } from '@magi1/kernels';
import type { Device } from '@magi1/tensor';

/** One comparison with a golden value. */
export interface Check {
  readonly what: string;
  readonly pass: boolean;
  /** Largest absolute difference and relative L2 distance, where numbers are compared. */
  readonly maxAbs?: number;
  readonly relL2?: number;
  /** The gate, in words and numbers: `relative L2 1e-5, absolute 5e-5`, `exact`. */
  readonly tolerance: string;
  /** What came instead, when it failed. */
  readonly detail?: string;
}

export interface VerifyContext {
  readonly device: Device;
  readonly signal?: AbortSignal | undefined;
  /** How the transformer's key-value cache is kept; f32 when left out, as the goldens' is. */
  readonly cacheDType?: CacheDType | undefined;
}

export interface VerifyCase {
  /** The golden file, relative to the root, unique within a run; `file#part` when a file holds several cases. */
  readonly path: string;
  /** Kit and kind, such as `vae.tiled_decode`. */
  readonly kind: string;
  /** Files (relative to the root) that this case accounts for: none of them is unknown any more. */
  readonly files: readonly string[];
  run(context: VerifyContext): Promise<readonly Check[]>;
}

/** The files below the root that a run was given. */
export interface FileTree {
  readonly root: string;
  /** Paths relative to the root, with forward slashes, sorted. */
  readonly files: readonly string[];
  readonly has: (path: string) => boolean;
  /** The path on disk; `..` may lead outside the root to a sibling kit. */
  readonly resolve: (path: string) => string;
  /** Folders (relative; '' is the root) that hold a file of this name. */
  readonly foldersWith: (name: string) => string[];
}

/** Finds the cases of one kit. Anything wrong with a file that belongs to it becomes a case that fails. */
export type Kit = (tree: FileTree) => Promise<VerifyCase[]>;
