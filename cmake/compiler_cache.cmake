# Compile through ccache where it is installed.
find_program(ATTNFLOW_CCACHE ccache)
mark_as_advanced(ATTNFLOW_CCACHE)
if(ATTNFLOW_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${ATTNFLOW_CCACHE}")
endif()
