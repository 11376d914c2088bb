#!/usr/bin/env bash
# Builds and runs all tests (g++, optimised). The last lines are the test runner's summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
source cmake/workflow.sh
run_workflow release
