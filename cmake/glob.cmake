# attnflow_glob_below(FOLDER GLOB|GLOB_RECURSE OUT PATTERN...): files below a folder, also where its path has brackets.
function(attnflow_glob_below folder how out)
  string(REPLACE "[" "[[]" here "${folder}")
  list(TRANSFORM ARGN PREPEND "${here}/" OUTPUT_VARIABLE patterns)
  if(CMAKE_SCRIPT_MODE_FILE)
    file(${how} found ${patterns})
  else()
    file(${how} found CONFIGURE_DEPENDS ${patterns})
  endif()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# attnflow_glob(GLOB|GLOB_RECURSE OUT PATTERN...): those below the folder of the caller (of a script: the folder it is
# started in).
function(attnflow_glob how out)
  attnflow_glob_below("${CMAKE_CURRENT_SOURCE_DIR}" ${how} found ${ARGN})
  set(${out} ${found} PARENT_SCOPE)
endfunction()
