// The model that comes with this package.
const FOLDER = new URL('../pocket', import.meta.url);

/**
 * Folder of the pocket model: MAGI-1's architecture and file format with about four million parameters, for 64x64 clips of
 * simple moving shapes. `config.json` runs the distilled transformer, `config.base.json` the base one. A path in Node, a
 * URL elsewhere.
 */
export const POCKET_MODEL: string =
  FOLDER.protocol === 'file:' ? decodeURIComponent(FOLDER.pathname).replace(/^\/(?=[A-Za-z]:)/, '') : FOLDER.href;
