# What `cmake --install` writes: the headers, a CMake package and a pkg-config file. All of it is text that
# is the same on every machine, unless attnflow::compiled is wanted, a library of this one.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS attnflow EXPORT attnflowTargets FILE_SET HEADERS FILE_SET bridges FILE_SET texts)
set(attnflow_package ${CMAKE_INSTALL_DATADIR}/cmake/attnflow)
set(attnflow_machines ARCH_INDEPENDENT)
if(ATTNFLOW_COMPILED)
  install(TARGETS attnflow_kernels EXPORT attnflowTargets)
  set(attnflow_package ${CMAKE_INSTALL_LIBDIR}/cmake/attnflow)
  set(attnflow_machines)
endif()
install(EXPORT attnflowTargets NAMESPACE attnflow:: DESTINATION ${attnflow_package})

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/attnflowConfig.cmake.in ${PROJECT_BINARY_DIR}/attnflowConfig.cmake
  INSTALL_DESTINATION ${attnflow_package}
  NO_SET_AND_CHECK_MACRO
)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/attnflowConfigVersion.cmake COMPATIBILITY SameMinorVersion ${attnflow_machines}
)
install(
  FILES ${PROJECT_BINARY_DIR}/attnflowConfig.cmake ${PROJECT_BINARY_DIR}/attnflowConfigVersion.cmake
  DESTINATION ${attnflow_package}
)

configure_file(${CMAKE_CURRENT_LIST_DIR}/attnflow.pc.in ${PROJECT_BINARY_DIR}/attnflow.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/attnflow.pc DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
