// `magi1 download --bits 4` in a process of its own, with the pocket model's config in place of a published one.
// Usage: node quantized-download.mjs ENDPOINT DESTINATION
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../processes.mjs';

const [endpoint, destination] = /** @type {[string, string]} */ (process.argv.slice(2));
const DIST = join(ROOT, 'packages', 'magi1', 'dist');
const { HubRepository } = await import(join(DIST, 'hub', 'repository.js'));
const { checkedFolder } = await import(join(DIST, 'hub', 'node', 'checked-folder.js'));
const { quantizeModel } = await import(join(DIST, 'quantize', 'index.js'));

const config = JSON.parse(readFileSync(join(ROOT, 'packages', 'magi1', 'pocket', 'config.json'), 'utf8'));
Object.assign(config.runtime_config, {
  load: './ckpt/magi/4.5B_distill',
  t5_pretrained: './ckpt/t5',
  vae_pretrained: './ckpt/vae',
});
const repository = await HubRepository.open('sand-ai/MAGI-1', { endpoint });
const folder = checkedFolder(repository, new Map([['config.json', Buffer.from(JSON.stringify(config))]]));
await quantizeModel(folder, destination, { bits: 4 });
