#!/usr/bin/env bash
# Builds and runs the tests (g++, optimised), all but what takes long to build or to run and cmake/further-checks.sh runs:
# the theorem laboratory, the gallery, odr_test, hostile input, other scalars, outside projects, runs of more than a
# minute. The last lines are the test runner's summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash cmake/setup.sh
source cmake/workflow.sh
run_workflow tests
