#!/usr/bin/env bash
# The library where most of us do not work: with LLVM's standard library, on a system that is not Linux, with Eigen 5, on
# 64-bit ARM (emulated), on Windows (MinGW and wine), without vectors. One program (tests/package/platform.cpp) is built and
# run on each; besides it the test of the kernels on ARM, and simulate on Windows.
#
#   bash cmake/check-platforms.sh [NAME...]     all of it, or the legs named: arm_kernels windows_simulate libcxx eigen5
#                                               windows other_system arm
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=build/platforms
rm -rf "$work"/*.exe "$work"/*.log
mkdir -p "$work/include" "$work/eigen5"

# Headers without machine code, in a folder of their own: cross compilers must not see /usr/include.
for header in eigen3/Eigen eigen3/unsupported catch2 nlohmann CLI; do
  for folder in /usr/include /usr/local/include; do
    [[ -e $folder/$header ]] && ln -sfn "$folder/$header" "$work/include/"
  done
done
# Eigen 5 has all of it that we use but Eigen::all, which is taken away from 3.4.
if [[ ! -e $work/eigen5/Eigen ]]; then
  cp -rL "$work/include/Eigen" "$work/include/unsupported" "$work/eigen5"
  sed -i -e '/^static const Eigen::internal::all_t all;/d' -e '/EIGEN_DEPRECATED static const/d' \
    "$work/eigen5/Eigen/src/Core/util/IndexedViewHelper.h"
  sed -i '/using Eigen::all;/d' "$work/eigen5/Eigen/src/Core/ArithmeticSequence.h"
fi

library="-I include -isystem $work/include"
program=tests/package/platform.cpp
windows_compiler="x86_64-w64-mingw32-g++-posix -static -Wa,-mbig-obj"
export work library program windows_compiler WINEDEBUG=-all WINEPREFIX=$PWD/$work/wine
unset DISPLAY

# leg NAME: the function NAME, and one line of what passed or all of what failed.
leg() {
  local started=$SECONDS
  if bash -euo pipefail -c "$1" >"$work/$1.log" 2>&1; then
    echo "$1: passed in $((SECONDS - started)) s"
  else
    cat "$work/$1.log"
    echo "$1: FAILED" >&2
    return 1
  fi
}

# build NAME COMPILER AND FLAGS...: NAME.exe, optimised a little.
build() {
  local name=$1
  shift
  "$@" -std=c++20 -DNDEBUG -O1 -o "$work/$name.exe"
}

# LLVM's standard library, as on macOS.
libcxx() {
  build libcxx clang++-19 -stdlib=libc++ $library $program
  "$work/libcxx.exe"
  clang++-19 -std=c++20 -stdlib=libc++ -fsyntax-only -DATTNFLOW_EXTERN_KERNELS $library -I examples examples/programs/simulate.cpp
}

# What Linux offers for threads is not there, nor what libstdc++ makes of it; and packs of one number, as with MSVC.
other_system() {
  build other_system g++ -U__linux__ -DATTNFLOW_DETAIL_OWN_WAITING -DATTNFLOW_DETAIL_ONE_LANE $library $program
  for level in avx512 avx2 sse2; do ATTNFLOW_SIMD=$level timeout 300 "$work/other_system.exe"; done
}

# Every header, and the program.
eigen5() {
  build eigen5 g++ -I include -isystem "$work/eigen5" $program
  "$work/eigen5.exe"
  (cd include && find attnflow -name '*.hpp' ! -path '*/compat/*' ! -path '*/kernels/*' -printf '#include <%p>\n') \
    >"$work/every_header.cpp"
  g++ -std=c++20 -fsyntax-only -DATTNFLOW_EXTERN_KERNELS -I include -isystem "$work/eigen5" "$work/every_header.cpp"
}

arm() {
  build arm aarch64-linux-gnu-g++ -static $library $program
  timeout 300 qemu-aarch64 "$work/arm.exe"
}

arm_kernels() {
  build arm_kernels aarch64-linux-gnu-g++ -static $library -I tests tests/attention/kernels_test.cpp tests/main.cpp
  timeout 600 qemu-aarch64 "$work/arm_kernels.exe"
}

# Several times: what goes wrong at the end of a program does so now and then.
windows() {
  build windows $windows_compiler $library $program
  for _ in 1 2 3 4 5; do timeout 300 wine "$work/windows.exe"; done
}

# same_tokens FOLDER FOLDER: what two runs of simulate have written of their tokens is the same up to 1e-12.
same_tokens() {
  python3 -c '
import array, math, sys
def tokens(folder):
    with open(folder + "/tokens.npy", "rb") as file:
        start = file.read(10)  # NUMPY, version 1.0, the length of the header
        header = file.read(int.from_bytes(start[8:], "little"))
        return header, array.array("d", file.read())
(shape, a), (other_shape, b) = map(tokens, sys.argv[1:])
assert shape == other_shape and b"f8" in shape and len(a) == len(b) > 0, (shape, other_shape)
apart = max(map(lambda x, y: abs(x - y) if math.isfinite(x) else math.inf, a, b))
print("tokens differ by", apart)
assert apart <= 1e-12, apart' "$@"
}

# The program itself, on threads: beside one that is built here in the same way, and twice into one folder.
windows_simulate() {
  local sources="examples/programs/simulate.cpp cmake/kernels.cpp" k
  build simulate_windows $windows_compiler -DATTNFLOW_EXTERN_KERNELS $library -I examples $sources
  build simulate_here g++ -DATTNFLOW_EXTERN_KERNELS $library -I examples $sources
  rm -rf "$work/ran_on_windows" "$work/ran_here"
  local run="--uniform-box 300,3,-2,2 --seed 1 --t-end 1 --threads 4 --checkpoint-every 0"
  "$work/simulate_here.exe" $run --out "$work/ran_here" --checkpoint "$work/here.checkpoint"
  for ((k = 0; k < 3; ++k)); do
    timeout 100 wine "$work/simulate_windows.exe" $run --out "$work/ran_on_windows" --force \
      --checkpoint "$work/windows.checkpoint"
    same_tokens "$work/ran_on_windows" "$work/ran_here"
  done
}

# The longest first, two at a time.
legs=(arm_kernels windows_simulate libcxx eigen5 windows other_system arm)
export -f leg build same_tokens "${legs[@]}"
[[ $# -gt 0 ]] && legs=("$@")
printf '%s\n' "${legs[@]}" | xargs -P 2 -I '{}' bash -c 'leg {}'
