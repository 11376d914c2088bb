# Every header with public names is a line of attnflow.hpp.
#
# Others are those below detail/ and kernels/, those that declare names in the namespace detail alone, and these:
#     io/, simd/   for programs that write files or choose vector instructions (attnflow.hpp says "everything but io")
#     compat/      needs other libraries
#
#     cmake -D include=DIR -P umbrella_test.cmake
cmake_minimum_required(VERSION 3.24)
include(${CMAKE_CURRENT_LIST_DIR}/../cmake/glob.cmake)

file(READ ${include}/attnflow/attnflow.hpp umbrella)
attnflow_glob_below(${include} GLOB_RECURSE paths attnflow/*.hpp)
set(headers)
foreach(path IN LISTS paths)
  cmake_path(RELATIVE_PATH path BASE_DIRECTORY ${include} OUTPUT_VARIABLE header)
  list(APPEND headers ${header})
endforeach()
list(FILTER headers EXCLUDE REGEX "^attnflow/(attnflow.hpp|(io|simd|compat)/.*|.*/?(detail|kernels)/.*)$")
list(LENGTH headers count)
if(count LESS 100)
  message(FATAL_ERROR "${count} headers were found below ${include}/attnflow, expected 100 at least")
endif()
set(missing "")
foreach(header IN LISTS headers)
  string(FIND "${umbrella}" "#include <${header}>" at)
  if(NOT at EQUAL -1)
    continue()
  endif()
  file(STRINGS ${include}/${header} public REGEX "^namespace attnflow { inline namespace ATTNFLOW_ABI {$")
  file(STRINGS ${include}/${header} private REGEX "^namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {$")
  if(public OR NOT private)
    string(APPEND missing "  ${header}\n")
  endif()
endforeach()
if(missing)
  message(FATAL_ERROR "attnflow.hpp does not include these headers with public names:\n${missing}")
endif()
