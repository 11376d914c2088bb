# The first program that README.md shows is examples/first_program.cpp, to the letter, and so is its output.
# cmake -D readme=README.md -D source=first_program.cpp -D program=first_program -P readme_test.cmake
file(READ ${readme} shown)
file(READ ${source} code)
string(FIND "${code}" "\n" first_line_end)
math(EXPR first_line_end "${first_line_end} + 1")
string(SUBSTRING "${code}" ${first_line_end} -1 code)  # less the comment at the top
string(FIND "${shown}" "```cpp\n${code}```" at)
if(at EQUAL -1)
  message(FATAL_ERROR "README.md does not show ${source}")
endif()
execute_process(COMMAND ${program} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
string(STRIP "${output}" output)
string(REPLACE "\n" "\n    " output "    ${output}")
string(FIND "${shown}" "${output}" at)
if(at EQUAL -1)
  message(FATAL_ERROR "README.md does not show the output of ${program}, which is\n${output}")
endif()
