#!/usr/bin/env bash
# The checks that cmake/test.sh leaves out: layout, every header alone, API pages, outside projects and long runs, clang,
# benchmarks, sanitizers, fuzzing, clang-tidy, the theorems on many draws, the gallery and the pages in a browser, other
# platforms. The first that fails ends the run.
#
#   bash cmake/further-checks.sh [NAME...]     all of them, or those named: format docs headers outside clang bench asan
#                                              tsan fuzz tidy theorems gallery pages platforms
#
# Two checks run at a time, one on the build of g++ and one on those of clang: each has stretches that keep one processor
# busy. What a check prints appears when it ends; until then it is in build/checks/NAME.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/workflow.sh

# Every source file of ours, each ended by a null byte.
sources() {
  find include tests bench examples -name '*.[ch]pp' -print0
}

check_format() {
  sources | xargs -0 clang-format --dry-run -Werror
}

# The API pages: every public name documented, every link and source found.
check_docs() {
  bash cmake/docs.sh
}

check_headers() {
  run_workflow headers
}

# Outside projects, mistakes that must not compile, and runs of more than a minute, with g++.
check_outside() {
  cmake --preset release >/dev/null
  cmake --build --preset tests
  ctest --preset release --parallel "${CTEST_PARALLEL_LEVEL:-$(nproc)}" --label-regex '^(long|outside)$'
}

# All programs, and the tests of what an optimiser orders; the others clang compiles for the sanitizers.
check_clang() {
  local jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  cmake --preset clang >/dev/null
  cmake --build --preset clang --parallel "$jobs" \
    --target numerics gallery_examples simulate render theorems first_program odr_test make_pages benchmarks
  ctest --preset clang --parallel "$jobs" --label-regex '^(numerics|example|everything|outside)$'
}

# Every benchmark, for a moment: results are checked and ratios printed, times are not judged.
check_bench() {
  cmake --preset clang >/dev/null
  cmake --build --preset clang --target bench-report-quick
  sed -n '/^## The operator/,/^## Peers/p' build/clang/bench/report.md
}

check_asan() {
  run_workflow asan
}

check_tsan() {
  run_workflow tsan
}

# A few seconds for each reader.
check_fuzz() {
  cmake --preset fuzz -D ATTNFLOW_FUZZ_SECONDS=5 >/dev/null
  cmake --build --preset fuzz
}

# All headers at once, through the test file that includes them all.
check_tidy() {
  cmake --preset clang >/dev/null
  timeout 900 clang-tidy --quiet -p build/clang tests/odr/a.cpp
}

# Every theorem at the default number of draws, half of them from each of two seeds; what the programs answer to options.
check_theorems() {
  local seed
  cmake --preset release >/dev/null
  cmake --build --preset release --target theorems phase_diagram
  for seed in 1 2; do
    build/release/examples/theorems --draws 50 --seed "$seed" --out "build/theorems/$seed" >build/theorems.log 2>&1 || {
      cat build/theorems.log
      return 1
    }
    grep ' statements, ' build/theorems.log
  done
  ctest --preset release --tests-regex '^options_(theorems|phase_diagram)$'
}

# Every figure with its claims, and every page of the gallery in a browser.
check_gallery() {
  bash cmake/gallery.sh
  find build/gallery -name '*.html' ! -name index.html -print0 | xargs -0 -n 1 bash cmake/check-page.sh
}

# Pages in a browser: what they show, against the numbers that they show, and the one that the main job writes. Skipped
# would mean that there is no browser.
check_pages() {
  bash cmake/main-job.sh
  bash cmake/check-page.sh build/polytope/view.html
  cmake --build --preset release --target make_pages
  ctest --preset release --label-regex '^browser$' --verbose | tee build/pages.log
  if grep -q ' skipped: ' build/pages.log; then return 1; fi
}

# Other standard libraries, systems, processors and versions of Eigen.
check_platforms() {
  bash cmake/check-platforms.sh
}

gcc_checks=(outside platforms theorems gallery pages)
clang_checks=(headers clang asan bench tsan fuzz tidy docs format)

for check in "$@"; do
  if ! declare -F "check_$check" >/dev/null; then
    echo "further-checks: no check is called $check" >&2
    exit 2
  fi
done

bash cmake/setup.sh --all
mkdir -p build/checks

# run CHECK...: one after the other, those that were asked for. A check runs in the background, since bash does not end a
# function at its first failure where its status is asked for.
asked="$*"
run() {
  local check started
  for check in "$@"; do
    [[ -n $asked && " $asked " != *" $check "* ]] && continue
    started=$SECONDS
    "check_$check" >"build/checks/$check.log" 2>&1 &
    if wait $!; then
      echo "== $check: passed in $((SECONDS - started)) s; the end of build/checks/$check.log: =="
      tail -n 20 "build/checks/$check.log"
    else
      cat "build/checks/$check.log"
      echo "== $check: FAILED =="
      return 1
    fi
  done
}

set -m  # makes a process group of each list, which can be ended as a whole
run "${gcc_checks[@]}" &
gcc=$!
run "${clang_checks[@]}" &
clang=$!
trap 'kill -- -$gcc -$clang 2>/dev/null || true' EXIT
wait -n "$gcc" "$clang"
wait "$gcc"
wait "$clang"
