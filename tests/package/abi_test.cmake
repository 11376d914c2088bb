# Objects that differ in vector flags or in the alignment of matrices do not link: see
# attnflow/detail/abi.hpp. Given: compiler, include, eigen (a list of folders), work. ELF on x86-64 only.
set(flags -std=c++20 -O0 -I${include})
foreach(folder IN LISTS eigen)
  list(APPEND flags -isystem ${folder})
endforeach()

file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})
# Two files that share nothing but the header, and two that share a function of ours.
file(WRITE ${work}/header.cpp "#include <attnflow/types.hpp>\n")
file(WRITE ${work}/main.cpp "#include <attnflow/types.hpp>\nint main() {}\n")
file(
  WRITE ${work}/defines.cpp
  "#include <attnflow/types.hpp>\n"
  "long rows_of_value(const attnflow::Head<double>& head);\n"
  "long rows_of_value(const attnflow::Head<double>& head) { return head.V.rows(); }\n"
)
file(
  WRITE ${work}/uses.cpp
  "#include <attnflow/types.hpp>\n"
  "long rows_of_value(const attnflow::Head<double>& head);\n"
  "int main() { return rows_of_value(attnflow::Head<double>::identity(3)) == 3 ? 0 : 1; }\n"
)

# compile(NAME OBJECT FLAGS...): NAME.cpp becomes OBJECT.o.
function(compile name object)
  execute_process(
    COMMAND ${compiler} ${flags} ${ARGN} -c ${work}/${name}.cpp -o ${work}/${object}.o
    COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY
  )
endfunction()

# link(RESULT OUTPUT OBJECTS...)
function(link result output)
  set(objects ${ARGN})
  list(TRANSFORM objects PREPEND ${work}/)
  list(TRANSFORM objects APPEND .o)
  execute_process(
    COMMAND ${compiler} ${objects} -o ${work}/program
    RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE err COMMAND_ECHO STDOUT
  )
  set(${result} ${code} PARENT_SCOPE)
  set(${output} "${out}${err}" PARENT_SCOPE)
endfunction()

function(expect_links)
  link(code output ${ARGN})
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${ARGN} are alike and do not link:\n${output}")
  endif()
  execute_process(COMMAND ${work}/program COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# expect_refused(WORDS OBJECTS...)
function(expect_refused words)
  link(code output ${ARGN})
  if(code EQUAL 0)
    message(FATAL_ERROR "${ARGN} differ and yet link")
  endif()
  foreach(word IN LISTS words)
    if(NOT output MATCHES "${word}")
      message(FATAL_ERROR "the linker refuses ${ARGN} without the words \"${word}\":\n${output}")
    endif()
  endforeach()
endfunction()

set(vectors -mavx2 -mfma)
set(wide -mavx512f -mavx512dq -mavx512vl -mavx512bw -mfma)
set(unaligned -DEIGEN_MAX_ALIGN_BYTES=0)
foreach(name main header defines uses)
  compile(${name} ${name}_plain)
  compile(${name} ${name}_vectors ${vectors})
  compile(${name} ${name}_unaligned ${unaligned})
endforeach()
compile(header header_wide ${wide})
compile(header header_rows -DEIGEN_DEFAULT_TO_ROW_MAJOR)
compile(header header_optimised -O2 -g -DNDEBUG)
compile(header header_serial -DATTNFLOW_NO_THREADS)

set(marker attnflow_objects_differ_in_vector_flags)
foreach(kind plain vectors unaligned)
  expect_links(main_${kind} header_${kind})
  expect_links(uses_${kind} defines_${kind})
endforeach()
# What does not change the layout of a matrix does not part objects either.
expect_links(main_plain header_optimised)
expect_links(main_plain header_serial)

foreach(other vectors wide unaligned rows)
  expect_refused(${marker} main_plain header_${other})
  expect_refused(${marker} header_${other} main_plain)
endforeach()
expect_refused(${marker} main_vectors header_wide)
expect_refused(${marker} main_vectors header_unaligned)
# A function that takes a Head has another name in each: also where no marker is looked at, a call finds
# nothing.
foreach(other vectors unaligned)
  expect_refused("undefined reference;rows_of_value" uses_plain defines_${other})
  expect_refused("undefined reference;rows_of_value" uses_${other} defines_plain)
endforeach()
