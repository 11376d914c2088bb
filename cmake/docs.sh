#!/usr/bin/env bash
# Builds the API pages into build/docs: open build/docs/index.html in a browser. Fails on every warning of Doxygen: a
# public name without a comment, a parameter that there is not, a link to nowhere, a source that is not in
# cmake/references.bib.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v doxygen >/dev/null 2>&1; then
  echo "docs: doxygen is not installed (Debian: apt-get install --no-install-recommends doxygen)" >&2
  exit 1
fi
out=build/docs
rm -rf "$out"
mkdir -p "$out"

version=$(sed -n 's/^#define ATTNFLOW_VERSION_[A-Z]* \([0-9]*\)$/\1/p' include/attnflow/version.hpp | paste -sd.)
sed -e "s|@version@|$version|" -e "s|@out@|$out|g" cmake/Doxyfile.in >"$out/Doxyfile"
# A page of the sources, an anchor for each: [KEY] in a comment becomes a link to it.
mkdir "$out/pages"
awk -f cmake/docs/references.awk cmake/references.bib >"$out/pages/references.md"
# The pages that stand beside the code, by the names that links between them get.
pages="README.md=index examples/README.md=programs tests/README.md=tests tests/data/README.md=reference_runs
  bench/README.md=benchmarks CONTRIBUTING.md=contributing CHANGELOG.md=changelog"
for pair in $pages; do
  awk -v page="${pair%=*}" -v ids="$(echo $pages)" -f cmake/docs/pages.awk "${pair%=*}" >"$out/pages/${pair#*=}.md"
done

status=0
doxygen "$out/Doxyfile" || status=$?
if [[ -s $out/warnings.txt ]]; then
  sed "s|^$PWD/||" "$out/warnings.txt" >&2
  status=1
fi
# What is cited has an entry.
while read -r key; do
  if ! grep -q "^@[a-z]*{$key," cmake/references.bib; then
    echo "docs: [$key] is cited, and cmake/references.bib has no such entry" >&2
    status=1
  fi
done < <(grep -rhoE '\[[A-Z][A-Za-z]*[0-9]{2}[],;]|; [A-Z][A-Za-z]*[0-9]{2}[],]' include README.md examples/README.md tests/README.md |
  grep -oE '[A-Z][A-Za-z]*[0-9]{2}' | sort -u)
[[ $status -eq 0 ]] && echo "The pages are $PWD/$out/index.html: open them in a browser."
exit "$status"
