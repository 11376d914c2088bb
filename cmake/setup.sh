#!/usr/bin/env bash
# Installs what is missing to build and test AttnFlow, and nothing else. Quiet when nothing is.
#
#   bash cmake/setup.sh          for the main job and the tests
#   bash cmake/setup.sh --all    also for the further checks (cmake/further-checks.sh)
#
# With apt-get (Debian, Ubuntu) packages are installed, through sudo unless you are root. Without, it says
# what to install.
set -euo pipefail

# One line each: the Debian package, and how to see without Debian's help that what it holds is there: a
# command, a header below one of the usual include folders, flags with which clang++ links a program, or a module of
# Python.
basic=(
  "g++ command g++"
  "cmake command cmake"
  "ninja-build command ninja"
  "libeigen3-dev header eigen3/Eigen/Core"
  "catch2 header catch2/catch.hpp catch2/catch_all.hpp"
  "nlohmann-json3-dev header nlohmann/json.hpp"
  "libcli11-dev header CLI/CLI.hpp"
)
further=(
  "clang command clang++"
  "clang-format command clang-format"
  "clang-tidy command clang-tidy"
  "libclang-rt-dev links -fsanitize=address,undefined"
  "libomp-dev links -fopenmp"
  "libbenchmark-dev header benchmark/benchmark.h"
  "libboost-dev header boost/numeric/odeint.hpp"
  "doxygen command doxygen"
  "pkgconf command pkg-config"
  "chromium command chromium"
  "chromium-driver command chromedriver"
  "python3 command python3"
  "python3-matplotlib module matplotlib"
  "gnuplot-nox command gnuplot"
  "clang-19 command clang++-19"
  "libc++-19-dev links -stdlib=libc++"
  "g++-mingw-w64-x86-64-posix command x86_64-w64-mingw32-g++-posix"
  "wine command wine"
  "g++-aarch64-linux-gnu command aarch64-linux-gnu-g++"
  "qemu-user command qemu-aarch64"
)

case "${1-}" in
  "") wanted=("${basic[@]}") ;;
  --all) wanted=("${basic[@]}" "${further[@]}") ;;
  *)
    echo "usage: bash cmake/setup.sh [--all]" >&2
    exit 2
    ;;
esac

package_installed() {
  command -v dpkg-query >/dev/null 2>&1 &&
    dpkg-query --show --showformat='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

header_found() {
  local name folder
  for name in "$@"; do
    for folder in /usr/include /usr/local/include /opt/homebrew/include; do
      [[ -e $folder/$name ]] && return 0
    done
  done
  return 1
}

clang_links() {
  command -v clang++ >/dev/null 2>&1 &&
    echo "int main() {}" | clang++ "$@" -x c++ - -o /dev/null >/dev/null 2>&1
}

python_imports() {
  local python
  for python in python3 /usr/bin/python3; do
    "$python" -c "import $1" >/dev/null 2>&1 && return 0
  done
  return 1
}

# present PACKAGE KIND NAME...
present() {
  package_installed "$1" && return 0
  case "$2" in
    command) command -v "$3" >/dev/null 2>&1 ;;
    header) header_found "${@:3}" ;;
    links) clang_links "${@:3}" ;;
    module) python_imports "$3" ;;
  esac
}

missing=()
for line in "${wanted[@]}"; do
  read -ra words <<<"$line"
  present "${words[@]}" || missing+=("${words[0]}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  as_root=(sudo)
fi
if ! command -v apt-get >/dev/null 2>&1 || { [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null 2>&1; }; then
  echo "setup: please install (the names are Debian's): ${missing[*]}" >&2
  exit 1
fi

echo "setup: installing ${missing[*]}" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${as_root[@]}" apt-get update &&
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"; } \
  >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "setup: could not install ${missing[*]}" >&2
  exit 1
fi
