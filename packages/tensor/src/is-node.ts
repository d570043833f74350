/** In Node (and what calls itself so), not in a browser. */
export function isNode(): boolean {
  return typeof process === 'object' && typeof process.versions?.node === 'string';
}
