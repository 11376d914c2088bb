# One case: install, find_package, add_subdirectory or pkg_config (see CMakeLists.txt here).
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(prefix ${folder}/prefix)
set(work ${folder}/${case})
file(REMOVE_RECURSE ${work})

if(case STREQUAL "install")
  file(REMOVE_RECURSE ${prefix})
  run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix})
elseif(case STREQUAL "pkg_config")
  file(MAKE_DIRECTORY ${work})
  set(ENV{PKG_CONFIG_PATH} ${prefix}/share/pkgconfig)
  execute_process(
    COMMAND ${pkg_config} --cflags "attnflow = ${version}"
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY
  )
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${compiler} -std=c++20 ${flags} ${CMAKE_CURRENT_LIST_DIR}/outside/main.cpp -o ${work}/outside)
  run(${work}/outside)
else()
  run(
    ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/outside -B ${work} -G ${generator}
    -D CMAKE_MAKE_PROGRAM=${make_program} -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_BUILD_TYPE=Debug
    -D how=${case} -D attnflow_source=${source} -D CMAKE_PREFIX_PATH=${prefix}
  )
  run(${CMAKE_COMMAND} --build ${work})
  run(${work}/outside)
endif()
