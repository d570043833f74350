// Text that comes from files, for a terminal.

/** C0 and C1 controls, delete, line separators, and the marks that turn the direction of text around. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

/**
 * One line in which control characters are seen (`\u001b`) and not obeyed: names, configs and messages of others may hold
 * escape sequences. Printed inside JSON it stays the same JSON.
 */
export function printable(line: string): string {
  return line.replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The same line by line. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');
