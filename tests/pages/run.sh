#!/bin/sh
# page_test.py, or a line that says that there is no Python to run it (exit status 77: skipped).
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
  echo "skipped: python3 (3.9 or later) not found"
  exit 77
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$(dirname "$0")/page_test.py" "$@"
