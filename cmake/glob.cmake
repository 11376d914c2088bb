# attnflow_glob(GLOB|GLOB_RECURSE OUT PATTERN...): files below the folder of the caller (of a script: the folder it is
# started in), also where the path of that folder has brackets.
function(attnflow_glob how out)
  string(REPLACE "[" "[[]" here "${CMAKE_CURRENT_SOURCE_DIR}")
  list(TRANSFORM ARGN PREPEND "${here}/" OUTPUT_VARIABLE patterns)
  if(CMAKE_SCRIPT_MODE_FILE)
    file(${how} found ${patterns})
  else()
    file(${how} found CONFIGURE_DEPENDS ${patterns})
  endif()
  set(${out} ${found} PARENT_SCOPE)
endfunction()
