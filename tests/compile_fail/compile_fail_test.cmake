# One mistake: `source` compiles, and with the macro MISUSE it does not, for the reason that it states itself:
#
#     // expect: words             the compiler's output has these words
#     // expect GNU: words         only g++'s; likewise Clang
#     // expect unsatisfied: Name  the compiler says that the concept Name does not hold, which is more than naming it
#
# That files compile without MISUSE is the test compile_fail_twins, for all at once.
# cmake -D compiler=g++ -D compiler_id=GNU -D flags=... -D source=case.cpp -D headers=headers.hpp -P ...
set(ENV{LC_ALL} C)  # quotation marks
set(command ${compiler} ${flags} -fsyntax-only)
if(compiler_id MATCHES "Clang")
  list(APPEND command -include-pch ${headers}.gch)
else()
  list(APPEND command -include ${headers})
endif()
execute_process(COMMAND ${command} -DMISUSE ${source} RESULT_VARIABLE code ERROR_VARIABLE output)
message("${output}")
if(code EQUAL 0)
  message(FATAL_ERROR "the misuse compiles")
endif()

file(STRINGS ${source} expectations REGEX "^// expect[^:]*: ")
if(NOT expectations)
  message(FATAL_ERROR "${source} does not say which words it expects")
endif()
foreach(line IN LISTS expectations)
  string(REGEX MATCH "^// expect([^:]*): (.*)$" all "${line}")
  string(STRIP "${CMAKE_MATCH_1}" which)
  set(words "${CMAKE_MATCH_2}")
  if(which STREQUAL "unsatisfied")
    if(compiler_id MATCHES "Clang")
      set(reason "'[^'\n]*${words}[^'\n]*' evaluated to false|does not satisfy '${words}")
    else()
      set(reason "required for the satisfaction of '[^'\n]*${words}")
    endif()
    if(NOT output MATCHES "${reason}")
      message(FATAL_ERROR "the message does not say that ${words} does not hold")
    endif()
  elseif(which STREQUAL "" OR compiler_id MATCHES "${which}$")
    string(FIND "${output}" "${words}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "the message does not have the words \"${words}\"")
    endif()
  elseif(NOT which MATCHES "^(GNU|Clang)$")
    message(FATAL_ERROR "${source}: expect what? \"${which}\"")
  endif()
endforeach()

# The user finds the place.
cmake_path(GET source FILENAME name)
if(NOT output MATCHES "${name}:[0-9]+")
  message(FATAL_ERROR "the message does not name a line of ${name}")
endif()
