#!/usr/bin/env node
// The `magi1` command: the built program.
import '../dist/cli/main.js';
