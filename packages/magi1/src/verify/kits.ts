// The kits that `verify` knows, one line each.
import type { Kit } from './types.ts';
import { ditKit } from './dit-kit.ts';
import { e2eKit } from './e2e-kit.ts';
import { mediaKit } from './media-kit.ts';
import { t5Kit } from './t5-kit.ts';
import { vaeKit } from './vae-kit.ts';

export const kits: readonly Kit[] = [ditKit, e2eKit, mediaKit, t5Kit, vaeKit];
