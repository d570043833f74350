// This package's version, for facts and sidecars; a test keeps it equal to package.json's.
export const VERSION = '0.1.0';
