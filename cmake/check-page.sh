#!/bin/sh
# Opens a page that write_html() wrote in a headless Chromium and checks that it drew itself without an error.
# Usage: check-page.sh PAGE.html     exit status: 0 drawn, 1 not, 2 wrong use, 77 no Chromium
set -u
if [ $# -ne 1 ]; then
  echo "usage: check-page.sh PAGE.html" >&2
  exit 2
fi
page=$1
if [ ! -r "$page" ]; then
  echo "failed: $page: no such file"
  exit 1
fi
browser=
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null 2>&1; then
    browser=$name
    break
  fi
done
if [ -z "$browser" ]; then
  echo "skipped: no chromium"
  exit 77
fi
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
here=$(cd "$(dirname "$page")" && pwd)
# What has a meaning in an address: percent first.
address=$(printf '%s/%s' "$here" "$(basename "$page")" | sed 's/%/%25/g; s/ /%20/g; s/#/%23/g; s/?/%3F/g')
timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync \
  --user-data-dir="$folder/profile" --virtual-time-budget=3000 --dump-dom "file://$address" \
  >"$folder/dom" 2>"$folder/log"
status=$?
tag=$(grep -o -m 1 '<html[^>]*>' "$folder/dom" | head -n 1)
error=$(printf '%s' "$tag" | sed -n 's/.*data-error="\([^"]*\)".*/\1/p')
if [ -n "$error" ]; then
  echo "failed: $page: $error"
  exit 1
fi
case $tag in
  *'data-state="ready"'*) echo "drawn: $page" ;;
  *)
    echo "failed: $page: never ready (browser status $status)"
    exit 1
    ;;
esac
