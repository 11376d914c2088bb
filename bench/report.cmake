# Runs all benchmark programs and writes report.md and report.json:
#
#   cmake -D folder=… -D programs=a;b;… -D source=… [-D quick=ON] -P report.cmake
#
# `folder` holds the programs and takes what they write; `programs` are those besides attend_bench; `source` is the
# folder of this file. Takes a few minutes, `quick` less than one: small sizes, a few rounds each and no peers, to see
# that all of it works. A row that ends with an error (wrong results) makes the run fail at the end, when the report is
# written.
cmake_minimum_required(VERSION 3.24)

set(results ${folder}/results)
file(REMOVE_RECURSE ${results})
file(MAKE_DIRECTORY ${results})

set(quickly)
if(quick)
  set(quickly --seconds=0.02 "--benchmark_filter=-(n[:/]|d/)(4096|10000|16384|20000|65536|512)|d:(64|128)/|heads:(8|12)/.*/n:(1024|2048)/")
endif()

# run(NAME PROGRAM ARGUMENT...): PROGRAM's results as NAME.json.
function(run name program)
  message(STATUS "bench-report: ${name}")
  execute_process(
    COMMAND ${folder}/${program} --benchmark_out_format=json --benchmark_out=${results}/${name}.json ${ARGN} ${quickly}
    OUTPUT_QUIET ERROR_VARIABLE errors RESULT_VARIABLE status
  )
  if(NOT status EQUAL 0)
    message(STATUS "bench-report: ${program} ended with status ${status}\n${errors}")
  endif()
endfunction()

set(native attend_bench_native)
if(NOT EXISTS ${folder}/${native})
  set(native attend_bench)
endif()
run(attend_bench_native ${native})

# Peers come next, so that the machine is as it was.
find_program(PYTHON NAMES python3 python)
if(PYTHON AND NOT quick)
  execute_process(
    COMMAND ${PYTHON} -c "import numpy" RESULT_VARIABLE has_numpy OUTPUT_QUIET ERROR_QUIET
  )
  if(has_numpy EQUAL 0)
    message(STATUS "bench-report: peers")
    execute_process(
      COMMAND ${PYTHON} ${source}/peers.py OUTPUT_FILE ${results}/peers.json RESULT_VARIABLE status
    )
    if(NOT status EQUAL 0)
      message(STATUS "bench-report: peers.py ended with status ${status}")
      file(REMOVE ${results}/peers.json)
    endif()
  endif()
endif()

# The two builds by turns, the library alone.
set(alternating --baselines=0 --seconds=0.4 "--benchmark_filter=attend/.*/n:(32|40|128|1024|4096|16384)/.*threads:1/")
if(NOT quick)
  foreach(turn RANGE 1 3)
    run(plain_${turn} attend_bench ${alternating})
    run(native_${turn} ${native} ${alternating})
  endforeach()
endif()

foreach(program IN LISTS programs)
  run(${program} ${program} --seconds=0.5)
endforeach()

if(EXISTS ${folder}/drift_memory AND NOT quick)
  message(STATUS "bench-report: drift_memory")
  execute_process(COMMAND ${folder}/drift_memory OUTPUT_FILE ${results}/drift_memory.txt)
endif()

execute_process(COMMAND ${folder}/write_report ${results} RESULT_VARIABLE status)
if(EXISTS ${results}/report.md)
  file(RENAME ${results}/report.md ${folder}/report.md)
  file(RENAME ${results}/report.json ${folder}/report.json)
  message(STATUS "bench-report: ${folder}/report.md")
endif()
if(NOT status EQUAL 0)
  message(FATAL_ERROR "bench-report: see the errors above")
endif()
