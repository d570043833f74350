#!/usr/bin/env bash
# TypeScript: where a block has a `using`, import('./a.ts') stays import('./a.ts') in the JavaScript that comes out.
#
# What: rewriteRelativeImportExtensions makes ./a.js of ./a.ts in every import. With a target that has no `using` of its
# own (ES2022, for Node 20 and 22), blocks with `using` are turned into try and finally, and dynamic imports inside such a
# block are not rewritten. The compiler says nothing, and the program ends with "Cannot find module './a.ts'" at run time,
# and only there: sources that are run as TypeScript work. With --target esnext the same import is rewritten.
#
# Why it matters: it shows in what is published, and nowhere before.
#
# Source: the option's documentation (relative paths that end in .ts are rewritten) and the behaviour.
#
# Needs node 20 or newer with npm. Exits 1 if the behaviour changes.
set -euo pipefail

command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm pkg set type=module >/dev/null
npm install --silent --no-audit --no-fund typescript@5.9.3

echo 'export const a = 1;' >a.ts
cat >b.ts <<'TS'
export async function plain() {
  return import('./a.ts');
}
export async function disposing() {
  using _nothing = null;
  return import('./a.ts');
}
TS
echo "typescript $(npx tsc --version), node $(node --version)"
echo "Expected: both imports of b.ts are of './a.js'."
for target in es2022 esnext; do
  npx tsc --target $target --module nodenext --lib es2023,esnext.disposable --rewriteRelativeImportExtensions --outDir $target a.ts b.ts
  grep -o "import(.*)" $target/b.js | tr '\n' ' ' >$target.txt
  echo "--target $target: $(cat $target.txt)"
done
if grep -q "a.js.*a.ts" es2022.txt && ! grep -q 'a\.ts' esnext.txt; then
  echo 'As found.'
else
  echo 'Changed.'
  exit 1
fi
