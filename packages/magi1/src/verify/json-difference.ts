// Comparison of plain JSON values, and one line of a report on them.

export interface VerifyResult {
  readonly what: string;
  readonly pass: boolean;
  readonly detail: string;
}

/** First difference between two JSON values as "path: expected x, got y"; null if there is none. */
export function firstDifference(expected: unknown, actual: unknown, path = ''): string | null {
  if (typeof expected !== 'object' || expected === null || typeof actual !== 'object' || actual === null)
    return expected === actual ? null : differ(expected, actual, path);
  if (Array.isArray(expected) !== Array.isArray(actual)) return differ(expected, actual, path);
  if (Array.isArray(expected) && expected.length !== (actual as unknown[]).length)
    return `${path}: expected ${expected.length} entries, got ${(actual as unknown[]).length}`;
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const at = path === '' ? key : `${path}.${key}`;
    const inner = [(expected as Record<string, unknown>)[key], (actual as Record<string, unknown>)[key]];
    const difference = firstDifference(inner[0], inner[1], at);
    if (difference !== null) return difference;
  }
  return null;
}

function differ(expected: unknown, actual: unknown, path: string): string {
  return `${path || 'value'}: expected ${brief(expected)}, got ${brief(actual)}`;
}

function brief(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
