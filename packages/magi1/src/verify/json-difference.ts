// Comparison of plain JSON values, and one line of a report on them.

export interface VerifyResult {
  readonly what: string;
  readonly pass: boolean;
  readonly detail: string;
}

/**
 * How far times of a step count may be off, in units of 2^-23 of their size. Where every i/N is a float32 (12 and the powers
 * of two) not at all. Elsewhere PyTorch's linspace depends on the vector width of the machine that wrote the file:
 * measured with PyTorch 1.13 as SSE, AVX2 and AVX-512, steps 1 to 200, all schedules: at most 6.3 units from i/N.
 */
export function timeTolerance(numSteps: number): number {
  const exact = numSteps === 12 || Number.isInteger(Math.log2(numSteps));
  return exact ? 0 : 8;
}

/**
 * First difference between two JSON values as "path: expected x, got y"; null if there is none.
 * Numbers that are not whole may differ by `units` x 2^-23 of their size.
 */
export function firstDifference(expected: unknown, actual: unknown, path = '', units = 0): string | null {
  if (typeof expected === 'number' && typeof actual === 'number') {
    const whole = Number.isInteger(expected) && Number.isInteger(actual);
    const room = whole ? 0 : units * 2 ** -23 * Math.max(Math.abs(expected), Math.abs(actual));
    return Math.abs(expected - actual) <= room ? null : differ(expected, actual, path);
  }
  if (typeof expected !== 'object' || expected === null || typeof actual !== 'object' || actual === null)
    return expected === actual ? null : differ(expected, actual, path);
  if (Array.isArray(expected) !== Array.isArray(actual)) return differ(expected, actual, path);
  if (Array.isArray(expected) && expected.length !== (actual as unknown[]).length)
    return `${path}: expected ${expected.length} entries, got ${(actual as unknown[]).length}`;
  for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    const at = path === '' ? key : `${path}.${key}`;
    const inner = [(expected as Record<string, unknown>)[key], (actual as Record<string, unknown>)[key]];
    const difference = firstDifference(inner[0], inner[1], at, units);
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
