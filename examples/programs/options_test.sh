#!/usr/bin/env bash
# What a program answers to its options: options_test.sh PROGRAM theorems|phase_diagram
#
# A mistake is exit status 2, nothing on stdout and one line on stderr that begins with the program's name; no folder is
# made. With --quiet a run that finds nothing wrong says nothing. Output that cannot be written is status 2.
set -uo pipefail
program=$1 name=$2
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
  "$program" --list >/dev/full 2>"$work/err" && fail "--list >/dev/full" "status 0"
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
"$program" "${quick[@]}" --out "$work/made" >/dev/full 2>"$work/err"
status=$?
[[ $status -eq 2 && $(grep -c "standard output cannot be written" "$work/err") -eq 1 ]] ||
  fail "${quick[*]} >/dev/full" "status $status, expected 2 and a line that says so"
"$program" --help >/dev/full 2>"$work/err" && fail "--help >/dev/full" "status 0"
timeout 60 "$program" "${quick[@]}" --out "$work/made" >"$work/out" 2>"$work/err" || fail "${quick[*]}" "status $?"
[[ -s $work/out ]] || fail "${quick[*]}" "says nothing without --quiet"

[[ $failures -eq 0 ]]
