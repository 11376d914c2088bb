#!/usr/bin/env bash
# Builds the examples of the gallery, runs them, and writes build/gallery/index.html: every figure, with the page to
# play, the data, the source, and what it claims.
#
#   bash cmake/gallery.sh [NAME...]     all examples, or those named
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
cmake --preset release
cmake --build --preset release --target gallery_examples

build/release/examples/gallery --list examples/gallery/list.txt --programs build/release/examples \
  --sources examples --out build/gallery "$@"
echo "The gallery is $PWD/build/gallery/index.html: open it in a browser."
