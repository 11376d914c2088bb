#!/usr/bin/env bash
# The main job: 20 tokens in the plane with Q = K = V = I, drawn from [-5, 5]^2, until t = 5. They gather
# at the corners of a polytope. The page to watch them on is build/polytope/view.html.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
cmake --preset release
cmake --build --preset release --target simulate

build/release/examples/simulate --uniform-box 20,2,-5,5 --seed 1 --t-end 5 --attention --force --out build/polytope
echo "The page is $PWD/build/polytope/view.html: open it in a browser."
