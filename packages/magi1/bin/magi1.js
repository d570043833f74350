#!/usr/bin/env node
// The `magi1` command: the built program. From Node 22.8 on its compiled code is kept for the next start.
import module from 'node:module';

module.enableCompileCache?.();
await import('../dist/cli/main.js');
