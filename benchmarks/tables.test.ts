import { expect, test } from 'vitest';
import { markdownTable, textTable } from './tables.ts';
import type { Column } from './tables.ts';

interface Row {
  readonly name: string;
  readonly value: number;
}
const columns: readonly Column<Row>[] = [
  { title: 'name', cell: ({ name }) => name },
  { title: 'value', align: 'right', cell: ({ value }) => String(value) },
];
const rows: readonly Row[] = [
  { name: 'a|b', value: 1 },
  { name: 'longer', value: 1234567 },
];

test('text columns are as wide as their longest cell', () => {
  expect(textTable(columns, rows).split('\n')).toEqual(['name      value', 'a|b           1', 'longer  1234567']);
  expect(textTable(columns, [])).toBe('name  value');
});

test('Markdown cells keep their bars', () => {
  expect(markdownTable(columns, rows).split('\n')).toEqual([
    '| name | value |',
    '| --- | ---: |',
    '| a\\|b | 1 |',
    '| longer | 1234567 |',
  ]);
});
