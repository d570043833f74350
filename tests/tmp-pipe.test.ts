import { it } from 'vitest';
it('runs', async () => { await import('/tmp/try.ts'); }, 600000);
