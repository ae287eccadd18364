# What `cmake --install` lays down: the program, liblaconic with its headers, a CMake package and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS laconic LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS laconic_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
set_target_properties(laconic_cli PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
foreach(room engine runtime methods)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/laconic
          FILES_MATCHING PATTERN "*.h")
endforeach()

install(FILES ${PROJECT_SOURCE_DIR}/capi/laconic.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/laconic)

# The rooms are object libraries inside liblaconic, so the package describes the one library they became.
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/laconic)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/laconic-config.cmake.in
                              ${PROJECT_BINARY_DIR}/laconic-config.cmake
                              INSTALL_DESTINATION ${package_folder}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/laconic-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/laconic-config.cmake ${PROJECT_BINARY_DIR}/laconic-config-version.cmake
        DESTINATION ${package_folder})
configure_file(${PROJECT_SOURCE_DIR}/cmake/laconic.pc.in ${PROJECT_BINARY_DIR}/laconic.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/laconic.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
