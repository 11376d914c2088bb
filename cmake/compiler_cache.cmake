# Compile through ccache where it is installed. The tests' precompiled header is shared by targets that differ in
# definitions it does not use.
find_program(ATTNFLOW_CCACHE ccache)
mark_as_advanced(ATTNFLOW_CCACHE)
if(ATTNFLOW_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${ATTNFLOW_CCACHE}
  )
endif()
