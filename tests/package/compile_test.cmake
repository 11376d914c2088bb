# One case (see CMakeLists.txt here): a program compiled by hand, `-I include -I eigen` and the flags of somebody else.
# Cases that end in `_everything` read all headers, io too, instead of those of the first program.
include(${CMAKE_CURRENT_LIST_DIR}/../../cmake/glob.cmake)
set(work ${folder}/${case})
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})
set(flags -std=c++20 -O0 -I${source}/include)
foreach(path IN LISTS eigen)
  list(APPEND flags -isystem ${path})
endforeach()
set(first_program ${source}/examples/tutorial/first_program.cpp)

# compile(FLAGS...), which has to succeed.
function(compile)
  execute_process(COMMAND ${compiler} ${flags} ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(compile_and_run)
  compile(${ARGN} -o ${work}/program)
  execute_process(COMMAND ${work}/program WORKING_DIRECTORY ${work} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# expect_refused(WORDS FLAGS...): the first error, in one line and in a header of ours, has these words.
function(expect_refused words)
  execute_process(
    COMMAND ${compiler} ${flags} ${ARGN} -c -o ${work}/refused.o RESULT_VARIABLE code ERROR_VARIABLE output COMMAND_ECHO STDOUT
  )
  if(code EQUAL 0)
    message(FATAL_ERROR "compiled, expected an error: ${words}")
  endif()
  string(REGEX MATCH "[^\n]*error:[^\n]*" first "${output}")
  string(FIND "${first}" "${words}" at)
  if(at EQUAL -1 OR NOT first MATCHES "include/attnflow/")
    message(FATAL_ERROR "the first error is\n  ${first}\nexpected one of ours: ${words}")
  endif()
endfunction()

# What our headers include of others, and all of ours or those of the first program: texts of #include lines.
attnflow_glob_below(${source}/include GLOB_RECURSE headers attnflow/*.hpp)
if(NOT headers)
  message(FATAL_ERROR "no header is found below ${source}/include/attnflow")
endif()
set(theirs "")
set(every_header "")
foreach(header IN LISTS headers)
  cmake_path(RELATIVE_PATH header BASE_DIRECTORY ${source}/include)
  if(header MATCHES "/compat/|/kernels/")
    continue()  # of libraries that may not be there; of our own programs
  endif()
  string(APPEND every_header "#include <${header}>\n")
  file(STRINGS ${source}/include/${header} lines REGEX "^ *# *include <")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "<attnflow/|<Eigen/|<windows.h>|<arm_|<intrin.h>|<io.h>|<sanitizer/")
      string(APPEND theirs "${line}\n")
    endif()
  endforeach()
endforeach()
string(APPEND theirs "#include <Eigen/Dense>\n#include <Eigen/SVD>\n#include <unsupported/Eigen/MatrixFunctions>\n")
file(STRINGS ${first_program} first_headers REGEX "^#include <attnflow/")
list(JOIN first_headers "\n" first_headers)
if(case MATCHES "_everything$")
  set(ours "${every_header}")
else()
  set(ours "${first_headers}\n#include <attnflow/observers/trajectory.hpp>\n#include <attnflow/io/npy.hpp>\n")
endif()

if(case MATCHES "^plain")
  # The first program with the warnings that careful projects ask for, as errors; Eigen is a system's header, we are
  # not. Left out: -Wfloat-equal, since 0 and 1 are compared with exactly and on purpose; -Wuseless-cast, which blames
  # templates for casts that another Scalar needs; -Wpadded and its like, which say nothing.
  set(warnings
      -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wdouble-promotion -Wshadow -Wold-style-cast -Wcast-qual
      -Wcast-align -Wundef -Wnon-virtual-dtor -Woverloaded-virtual -Wformat=2 -Wextra-semi -Wredundant-decls
      -Wmissing-declarations -Wswitch-enum -Wvla -Wimplicit-fallthrough
  )
  if(compiler_id MATCHES "Clang")
    list(APPEND warnings -Wmissing-prototypes -Wnewline-eof -Wrange-loop-analysis -Wshorten-64-to-32 -Wcomma
         -Wunreachable-code -Wmissing-variable-declarations -Wreserved-id-macro
    )
  else()
    list(APPEND warnings -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wstrict-null-sentinel -Wnoexcept-type)
  endif()
  file(READ ${first_program} program)
  file(WRITE ${work}/main.cpp "${ours}\n${program}")
  compile_and_run(${warnings} -Werror ${work}/main.cpp)
elseif(case STREQUAL "no_exceptions")
  file(WRITE ${work}/light.cpp "#include <attnflow/version.hpp>\n")
  expect_refused("compile without -fno-exceptions" -fno-exceptions ${work}/light.cpp)
elseif(case STREQUAL "no_resizing")
  file(WRITE ${work}/light.cpp "#include <attnflow/version.hpp>\n")
  expect_refused("compile without EIGEN_NO_AUTOMATIC_RESIZING" -DEIGEN_NO_AUTOMATIC_RESIZING ${work}/light.cpp)
elseif(case STREQUAL "older_language")
  # After it comes the one that stops the compiler; hundreds would follow.
  file(WRITE ${work}/main.cpp "${ours}\nint main() {}\n")
  expect_refused("AttnFlow needs C++20" -std=c++17 ${work}/main.cpp)
  expect_refused("AttnFlow needs C++20" -std=gnu++17 ${work}/main.cpp)
  execute_process(COMMAND ${compiler} ${flags} -std=c++17 -fsyntax-only ${work}/main.cpp ERROR_VARIABLE output)
  string(REGEX MATCHALL "error:" errors "${output}")
  list(LENGTH errors count)
  if(NOT count EQUAL 2)
    message(FATAL_ERROR "${count} errors, expected 2:\n${output}")
  endif()
elseif(case STREQUAL "fast_math")
  file(WRITE ${work}/light.cpp "#include <attnflow/version.hpp>\n")
  foreach(flag -ffast-math -Ofast -ffinite-math-only)
    expect_refused("compile without -ffast-math, -Ofast, -ffinite-math-only and -fassociative-math" ${flag} ${work}/light.cpp)
  endforeach()
elseif(case STREQUAL "reordered_sums")
  # Where no macro tells, the compiler is caught in the act: by kernels, exact predicates, sums of two parts.
  file(
    WRITE ${work}/kernels.cpp
    "#include <attnflow/simd/level.hpp>\nint main() { return attnflow::simd_level() == attnflow::SimdLevel::portable; }\n"
  )
  file(
    WRITE ${work}/predicates.cpp
    "#include <attnflow/geometry/convex_hull.hpp>\nint main() { return attnflow::convex_hull(Eigen::MatrixXd::Random(2, 9)).empty(); }\n"
  )
  file(
    WRITE ${work}/parts.cpp
    "#include <attnflow/numerics/double_double.hpp>\n"
    "double f(double a, double b);\ndouble f(double a, double b) { return attnflow::detail::exact_sum(a, b).low; }\n"
  )
  foreach(file kernels predicates parts)
    foreach(reordered "-fassociative-math -fno-signed-zeros -fno-trapping-math" -funsafe-math-optimizations)
      separate_arguments(reordered UNIX_COMMAND "${reordered}")
      expect_refused("compile without -fassociative-math" -O1 -U__ASSOCIATIVE_MATH__ ${reordered} ${work}/${file}.cpp)
    endforeach()
    compile(-O2 -c ${work}/${file}.cpp -o ${work}/${file}.o)
  endforeach()
elseif(case STREQUAL "excess_precision")
  file(WRITE ${work}/light.cpp "#include <attnflow/version.hpp>\n")
  expect_refused("compile for x86 of 32 bits with -msse2 -mfpmath=sse" -m32 -mno-sse ${work}/light.cpp)
elseif(case STREQUAL "rounding_math")
  compile(-O2 -frounding-math ${CMAKE_CURRENT_LIST_DIR}/platform.cpp -o ${work}/program)
  execute_process(COMMAND ${work}/program COMMAND_ERROR_IS_FATAL ANY)
  foreach(level avx512 avx2 sse2 neon)
    set(ENV{ATTNFLOW_SIMD} ${level})
    execute_process(COMMAND ${work}/program COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
elseif(case MATCHES "^no_rtti")
  file(WRITE ${work}/main.cpp "${ours}\nint main() {}\n")
  compile(-fno-rtti -fsyntax-only ${work}/main.cpp)
elseif(case MATCHES "^hostile_macros")
  # Headers of C and of platforms define these names; function-like ones of windows.h and of sys/sysmacros.h, too. The
  # standard library and Eigen come first: libstdc++ is not proof against min and max itself, and undefines them.
  # In our own headers every use of such a name becomes ATTNFLOW_HOSTILE_name, which the preprocessed text must not have.
  set(names
      I _Complex_I imaginary # complex.h
      near far small hyper interface IN OUT OPTIONAL ERROR DELETE CONST VOID TRUE FALSE # windows.h
      MIN MAX # sys/param.h
      B0 CR0 # termios.h
      DOMAIN SING OVERFLOW UNDERFLOW PLOSS TLOSS HUGE PI # math.h, of old
      _A _B _C _D _L _N _P _S _U _X # ctype.h, of some
      linux unix i386 # predefined with GNU's extensions
      signals slots emit foreach # Qt
      None Status Bool Always # X11
  )
  set(functions min max major minor makedev)
  set(macros "")
  foreach(name IN LISTS names)
    string(APPEND macros "#undef ${name}\n#define ${name} ATTNFLOW_HOSTILE_${name}\n")
  endforeach()
  foreach(name IN LISTS functions)
    string(APPEND macros "#undef ${name}\n#define ${name}(...) ATTNFLOW_HOSTILE_${name}\n")
  endforeach()
  file(WRITE ${work}/all.cpp "${theirs}\n${macros}\n${every_header}")
  execute_process(
    COMMAND ${compiler} ${flags} -E ${work}/all.cpp OUTPUT_FILE ${work}/all.txt COMMAND_ECHO STDOUT
                                                    COMMAND_ERROR_IS_FATAL ANY
  )
  file(STRINGS ${work}/all.txt lines REGEX "ATTNFLOW_HOSTILE_|^# [0-9]+ \"[^\"]*/attnflow/.*")
  set(place "?")
  set(found "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^# [0-9]+ \"([^\"]*)\"")
      set(place ${CMAKE_MATCH_1})
    else()
      string(STRIP "${line}" line)
      string(APPEND found "\n${place}:\n    ${line}")
    endif()
  endforeach()
  if(NOT found STREQUAL "")
    message(FATAL_ERROR "names that others define as macros are used:${found}")
  endif()
  if(NOT case MATCHES "_everything$")
    return()
  endif()
  # And as people meet them: with the definitions that those headers have.
  string(CONCAT usual
    "#define min(a, b) (((a) < (b)) ? (a) : (b))\n#define max(a, b) (((a) > (b)) ? (a) : (b))\n"
    "#define near\n#define far\n#define small char\n#define interface struct\n#define IN\n#define OUT\n"
    "#undef I\n#define I _Complex_I\n#define B0 0000000\n#define ERROR 0\n#define OVERFLOW 3\n"
    "#define MIN(a, b) (((a) < (b)) ? (a) : (b))\n#define MAX(a, b) (((a) > (b)) ? (a) : (b))\n"
  )
  file(READ ${first_program} program)
  file(WRITE ${work}/main.cpp "${theirs}\n${usual}\n${ours}\n${program}")
  compile(-fsyntax-only ${work}/main.cpp)
else()
  # Eigen with other defaults, for the whole program.
  set(eigen_row_major -DEIGEN_DEFAULT_TO_ROW_MAJOR)
  set(eigen_int_index -DEIGEN_DEFAULT_DENSE_INDEX_TYPE=int)
  set(eigen_unaligned -DEIGEN_MAX_ALIGN_BYTES=0)
  set(eigen_no_vectors -DEIGEN_DONT_VECTORIZE)
  set(eigen_nan_initialized -DEIGEN_INITIALIZE_MATRICES_BY_NAN)
  set(eigen_other_defaults ${eigen_int_index} ${eigen_no_vectors} ${eigen_nan_initialized})
  compile_and_run(${${case}} ${CMAKE_CURRENT_LIST_DIR}/eigen_defaults.cpp)
endif()
