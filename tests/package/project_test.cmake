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
    COMMAND ${pkg_config} --cflags --libs "attnflow = ${version}"
    OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY
  )
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(${compiler} -std=c++20 -DEXPECTED_VERSION="${version}" ${CMAKE_CURRENT_LIST_DIR}/outside/light.cpp ${flags}
      -o ${work}/light
  )
  run(${work}/light)
elseif(case STREQUAL "too_new")
  expect_configured("compatible with requested version \"0.9\";version: ${version}" -D wanted=0.9)
elseif(case STREQUAL "unknown_component")
  expect_configured("attnflow has no components, \"kernels\" was asked for" -D components=kernels)
  file(REMOVE_RECURSE ${work})
  expect_configured("configure it with -D ATTNFLOW_COMPILED=ON" -D components=compiled)
elseif(case STREQUAL "no_eigen")
  expect_configured(
    "attnflow needs Eigen 3.4;Debian: libeigen3-dev;set Eigen3_DIR" -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON
  )
elseif(case STREQUAL "other_eigens")
  # Packages that only say their version, as Eigen's do: each answers to its own major one.
  include(CMakePackageConfigHelpers)
  foreach(number 3.3.9 5.0.1)
    set(eigen_folder ${folder}/eigen-${number})
    file(WRITE ${eigen_folder}/Eigen3Config.cmake "add_library(Eigen3::Eigen INTERFACE IMPORTED)\n")
    write_basic_package_version_file(
      ${eigen_folder}/Eigen3ConfigVersion.cmake VERSION ${number} COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT
    )
  endforeach()
  expect_configured("" -D Eigen3_DIR=${folder}/eigen-5.0.1)
  file(REMOVE_RECURSE ${work})
  expect_configured("attnflow needs Eigen 3.4;version 3.3.9" -D Eigen3_DIR=${folder}/eigen-3.3.9)
elseif(case STREQUAL "own_eigen")
  expect_configured("" -D CMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON -D own_eigen=ON)
elseif(case STREQUAL "brackets")
  # Configured, and tested by scripts, from a folder whose name is a pattern for files.
  set(copy "${work}/a[b] c")
  foreach(part CMakeLists.txt cmake include examples tests bench)
    file(COPY ${source}/${part} DESTINATION ${copy})
  endforeach()
  run(
    ${CMAKE_COMMAND} -S ${copy} -B ${work}/build -G ${generator} -D CMAKE_MAKE_PROGRAM=${make_program}
    -D CMAKE_CXX_COMPILER=${compiler}
  )
  run(${CMAKE_COMMAND} --build ${work}/build --target first_program)
  run(${work}/build/examples/first_program)
  run(${CMAKE_COMMAND} -D include=${copy}/include -P ${copy}/tests/umbrella_test.cmake)
  run(
    ${CMAKE_COMMAND} -D case=no_rtti -D source=${copy} -D folder=${work} -D compiler=${compiler} -D "eigen=${eigen}"
    -P ${copy}/tests/package/compile_test.cmake
  )
elseif(case STREQUAL "other_architecture")
  # What the package was built on does not matter: a version file that looks at the size of a pointer would refuse one.
  expect_configured("" -D pointer_size=4)
  file(REMOVE_RECURSE ${work})
  expect_configured("" -D pointer_size=8)
elseif(case STREQUAL "compiled")
  set(options -G ${generator} -D CMAKE_MAKE_PROGRAM=${make_program} -D CMAKE_CXX_COMPILER=${compiler}
      -D CMAKE_BUILD_TYPE=Debug -D CMAKE_CXX_FLAGS_DEBUG=-O0
  )
  run(${CMAKE_COMMAND} -S ${source} -B ${work}/ours ${options} -D ATTNFLOW_COMPILED=ON -D ATTNFLOW_BUILD_TESTS=OFF
      -D ATTNFLOW_BUILD_EXAMPLES=OFF -D ATTNFLOW_BUILD_BENCH=OFF
  )
  run(${CMAKE_COMMAND} --build ${work}/ours)
  run(${CMAKE_COMMAND} --install ${work}/ours --prefix ${work}/prefix)
  run(
    ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/outside -B ${work}/theirs ${options} -D how=find_package
    -D CMAKE_PREFIX_PATH=${work}/prefix -D attnflow_components=compiled -D attnflow_version=${version}
    -D attnflow_program=${source}/examples/tutorial/first_program.cpp
  )
  run(${CMAKE_COMMAND} --build ${work}/theirs --target outside)
  run(${work}/theirs/outside)
else()
  # An outside project with two files, built and run: the first program of README.md and one that shares much with it;
  # where the library comes as a folder, something small.
  set(options -D CMAKE_PREFIX_PATH=${prefix})
  if(case STREQUAL "find_package")
    list(APPEND options -D CMAKE_CXX_STANDARD=23 -D attnflow_program=${source}/examples/tutorial/first_program.cpp)
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
  # What it installs holds a library that needs ours, and ours where it came as a folder.
  run(${CMAKE_COMMAND} --install ${work} --prefix ${work}/prefix)
  set(installed ${work}/prefix/lib/cmake/mine/mineTargets.cmake)
  if(NOT case STREQUAL "find_package")
    list(APPEND installed ${work}/prefix/share/cmake/attnflow/attnflowConfig.cmake)
  endif()
  foreach(file IN LISTS installed)
    if(NOT EXISTS ${file})
      message(FATAL_ERROR "${file} was not installed")
    endif()
  endforeach()
endif()
