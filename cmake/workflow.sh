# Sourced by the scripts here, from the top folder: run_workflow PRESET.

# Configures, builds and tests a preset, with as many programs at a time as there are processors.
run_workflow() {
  CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)} \
    CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)} \
    cmake --workflow --preset "$1"
}
