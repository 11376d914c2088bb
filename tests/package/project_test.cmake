# One case (see CMakeLists.txt here): a project of somebody else is configured, built and run, or told why not.
function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

set(prefix ${folder}/prefix)
set(work ${folder}/${case})
file(REMOVE_RECURSE ${work})

# expect_configured(WORDS OPTIONS...): the project `found`, which has no language and so is quick, finds the package;
# with WORDS it is refused, and told so in these words.
function(expect_configured words)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/found -B ${work} -G ${generator}
            -D CMAKE_MAKE_PROGRAM=${make_program} -D CMAKE_PREFIX_PATH=${prefix} ${ARGN}
    RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output COMMAND_ECHO STDOUT
  )
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(words STREQUAL "" AND NOT code EQUAL 0)
    message(FATAL_ERROR "the package is not found:\n${output}")
  elseif(NOT words STREQUAL "" AND code EQUAL 0)
    message(FATAL_ERROR "the package is found, expected \"${words}\"")
  endif()
  foreach(word IN LISTS words)
    string(FIND "${output}" "${word}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "the package is refused without the words \"${word}\":\n${output}")
    endif()
  endforeach()
endfunction()

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
  run(${compiler} -std=c++20 -DEXPECTED_VERSION="${version}" ${flags} ${CMAKE_CURRENT_LIST_DIR}/outside/light.cpp -o
      ${work}/light
  )
  run(${work}/light)
elseif(case STREQUAL "too_new")
  expect_configured("compatible with requested version \"0.9\";version: ${version}" -D wanted=0.9)
elseif(case STREQUAL "unknown_component")
  expect_configured("attnflow has no components, \"kernels\" was asked for" -D components=kernels)
elseif(case STREQUAL "no_eigen")
  expect_configured(
    "attnflow needs Eigen 3.4;Debian: libeigen3-dev;set Eigen3_DIR" -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
  )
elseif(case STREQUAL "own_eigen")
  expect_configured("" -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -D own_eigen=ON)
elseif(case STREQUAL "other_architecture")
  # What the package was built on does not matter: a version file that looks at the size of a pointer would refuse one.
  expect_configured("" -D pointer_size=4)
  file(REMOVE_RECURSE ${work})
  expect_configured("" -D pointer_size=8)
else()
  # An outside project with two files, built and run: the first program of README.md and one that shares much with it;
  # where the library comes as a folder, something small.
  set(options -D CMAKE_PREFIX_PATH=${prefix})
  if(case STREQUAL "find_package")
    list(APPEND options -D CMAKE_CXX_STANDARD=23 -D attnflow_program=${source}/examples/first_program.cpp)
  elseif(case STREQUAL "fetch_content")
    list(APPEND options -D FETCHCONTENT_SOURCE_DIR_ATTNFLOW=${source})  # no network
  endif()
  run(
    ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/outside -B ${work} -G ${generator}
    -D CMAKE_MAKE_PROGRAM=${make_program} -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_BUILD_TYPE=Debug -D how=${case}
    -D attnflow_source=${source} -D attnflow_version=${version} ${options}
  )
  run(${CMAKE_COMMAND} --build ${work})
  run(${work}/light)
  if(case STREQUAL "find_package")
    run(${work}/outside)
  endif()
endif()
