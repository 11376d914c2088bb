#!/usr/bin/env bash
# What a program answers to its options: options_test.sh PROGRAM NAME programs|gallery|tutorial
#
# Every program: standard output that cannot be written is an exit status other than 0, and one line on stderr. Those of
# the gallery, theorems and phase_diagram: a mistake is exit status 2, nothing on stdout and one line on stderr that
# begins with the program's name; no folder is made. With --quiet a run that finds nothing wrong says nothing. (Of
# simulate, render and gallery tests/programs says the like.)
set -uo pipefail
program=$1 name=$2 kind=$3
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
failures=0

fail() {
  echo "$name $1: $2" >&2
  cat "$work/out" "$work/err" >&2
  failures=$((failures + 1))
}

refuses() {
  timeout 60 "$program" "$@" >"$work/out" 2>"$work/err"
  local status=$?
  [[ $status -eq 2 ]] || fail "$*" "status $status, expected 2"
  [[ ! -s $work/out ]] || fail "$*" "says something on stdout"
  [[ $(wc -l <"$work/err") -eq 1 && $(cat "$work/err") == "$name: "* ]] ||
    fail "$*" "expected one line on stderr that begins with $name:"
  [[ ! -e $work/new ]] || fail "$*" "a folder has been made"
}

says_nothing() {
  timeout 60 "$program" "$@" >"$work/out" 2>"$work/err"
  local status=$?
  [[ $status -eq 0 && ! -s $work/out && ! -s $work/err ]] || fail "$*" "status $status, expected 0 and silence"
}

# speaks_into_full ARGUMENTS...: what is said does not arrive.
speaks_into_full() {
  (cd "$work" && timeout 200 "$program" "$@") >/dev/full 2>"$work/err"
  local status=$?
  [[ $status -eq 2 || $status -eq 3 ]] || fail "$* >/dev/full" "status $status, expected 2 or 3"
  [[ $(grep -c "^$name: standard output cannot be written" "$work/err") -eq 1 ]] ||
    fail "$* >/dev/full" "expected one line on stderr that says so"
}

ends() {
  [[ $failures -eq 0 ]]
  exit
}

: >"$work/out"
case $name in
  theorems | phase_diagram) ;;
  simulate)
    speaks_into_full --help
    speaks_into_full --version
    speaks_into_full --gaussian 3,2 --t-end 0.1 --out "$work/run"
    ends
    ;;
  render) # one moment of one token, at the origin of the plane
    {
      printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }"
      head -c 16 /dev/zero
    } >"$work/x.npy"
    speaks_into_full --help
    speaks_into_full --version
    speaks_into_full x.npy --out view.html
    [[ -s $work/view.html ]] || fail "x.npy --out view.html" "view.html is missing"
    ends
    ;;
  gallery)
    echo true >"$work/list.txt"
    speaks_into_full --help
    speaks_into_full --list list.txt --programs /bin --sources . --out shown
    [[ -s $work/shown/index.html ]] || fail "--out shown" "index.html is missing"
    refuses --list list.txt --programs /bin --sources . --out --jobs
    ends
    ;;
  *)
    if [[ $kind == tutorial ]]; then
      speaks_into_full
      ends
    fi
    speaks_into_full --help
    [[ $name == polytope ]] && speaks_into_full --out shown # their claims are said by the same lines
    touch "$work/file"
    refuses --out
    refuses --out ""
    refuses --out --quiet
    grep -q -e '--out: --quiet, expected a value (a name that starts with -- is written ./--quiet)' "$work/err" ||
      fail "--out --quiet" "expected the words of simulate"
    refuses --out "$work/file"
    refuses --out "$work/file/inside"
    refuses --nonsense
    refuses nonsense
    ends
    ;;
esac

out=(--out "$work/new")
touch "$work/file"
for value in -1 1.5 nan inf 1e3 0x1 1x "" " " 99999999999999999999; do
  for option in --seed --threads; do refuses "$option" "$value" "${out[@]}"; done
done
refuses --threads 0 "${out[@]}"
refuses --threads 1025 "${out[@]}"
refuses --nonsense "${out[@]}"
refuses nonsense "${out[@]}"
refuses --quiet=maybe "${out[@]}"
refuses --out
refuses --out ""
refuses --out --quiet
refuses --out "$work/file"
refuses --out "$work/file/inside"
refuses --out $'/dev/null/two\nlines'
if [[ $EUID -ne 0 ]]; then  # who may write everywhere
  mkdir "$work/locked" && chmod a-w "$work/locked"
  refuses --out "$work/locked"
  refuses --out "$work/locked/inside"
fi

if [[ $name == theorems ]]; then
  for value in 0 1000001 2x nan inf ""; do refuses --draws "$value" "${out[@]}"; done
  refuses --only "no such statement" "${out[@]}"
  quick=(--draws 1 --only "antipodal pair")
  speaks_into_full --list
else
  for option in --dim --systems --tokens --betas; do
    for value in 0 -2 10000001 nan inf 2.5 ""; do refuses "$option" "$value" "${out[@]}"; done
  done
  for value in hardmax "" nan; do refuses --law "$value" "${out[@]}"; done
  for value in half "" 64; do refuses --precision "$value" "${out[@]}"; done
  refuses --quiet
  quick=(--systems 32 --betas 2 --tokens 4)
fi

says_nothing "${quick[@]}" --quiet --out "$work/made"
[[ -s $work/made/exhibit.json ]] || fail "${quick[*]}" "exhibit.json is missing"
speaks_into_full "${quick[@]}" --out "$work/made"
speaks_into_full --help
timeout 60 "$program" "${quick[@]}" --out "$work/made" >"$work/out" 2>"$work/err" || fail "${quick[*]}" "status $?"
[[ -s $work/out ]] || fail "${quick[*]}" "says nothing without --quiet"

ends
