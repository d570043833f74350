// Run by tests as a process of its own, to be killed: writes four chunks of 24 frames, says so, and never finishes.
// Arguments: output path, encoder. The TypeScript sources are loaded through vite, as vitest does.
import { fileURLToPath } from 'node:url';
import { createViteServer } from 'vitest/node';

const [path, encoder] = process.argv.slice(2);
const root = fileURLToPath(new URL('../../../..', import.meta.url));
const server = await createViteServer({
  root,
  configFile: `${root}/vitest.config.ts`,
  appType: 'custom',
  logLevel: 'error',
  server: { middlewareMode: true, watch: null, ws: false },
});
const media = await server.ssrLoadModule('/packages/magi1/src/media/index.ts');
const { movingClip } = await server.ssrLoadModule('/packages/magi1/src/media/testing.ts');
const writer = await media.openMp4Writer({ path, width: 64, height: 64, fps: 24, encoder });
for (let start = 0; start < 96; start += 24) await writer.write(movingClip(64, 64, 24, start), 24);
process.stdout.write('written');
setInterval(() => writer, 1000);
