# Writes one source file from several test files: first every header that they include, then each file in a namespace of
# its own. Headers are included once, so that inside the namespaces nothing but the tests is left, and templates that
# several files use are compiled once.
#
#     cmake -D top=DIR -D "sources=A_test.cpp;B_test.cpp" -D out=FILE -P join.cmake        sources relative to top
set(headers)
set(tests "")
foreach(source IN LISTS sources)
  file(STRINGS ${top}/${source} lines REGEX "^#include")
  list(APPEND headers ${lines})
  string(MAKE_C_IDENTIFIER ${source} name)
  string(APPEND tests "namespace ${name} {\n#include \"${source}\"\n}\n")
endforeach()
list(REMOVE_DUPLICATES headers)
list(JOIN headers "\n" headers)
file(WRITE ${out} "${headers}\n${tests}")
