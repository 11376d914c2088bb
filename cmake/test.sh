#!/usr/bin/env bash
# Builds and runs the tests (g++, optimised), all but the theorem laboratory, the gallery and odr_test, which take
# long to build and which cmake/further-checks.sh runs. The last lines are the test runner's summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
source cmake/workflow.sh
run_workflow tests
