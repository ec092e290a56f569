# Install rules; dray::dray and dray::static for find_package(dray); a relocatable dray.pc; man pages.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dray)
set(generated_dir ${CMAKE_CURRENT_BINARY_DIR}/install)

# Two export sets: the shared library asks nothing of its user, the static one needs the development
# files of what it was built with.
install(TARGETS dray_shared EXPORT dray-shared
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT development)
install(TARGETS dray_static EXPORT dray-static
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(EXPORT dray-shared NAMESPACE dray:: DESTINATION ${package_dir})
install(EXPORT dray-static NAMESPACE dray:: DESTINATION ${package_dir})
install(DIRECTORY include/dray DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The static library's needs, for dray-config.cmake ("DRAY_LIBZSTD libzstd" pairs) and for dray.pc.
set(DRAY_PACKAGE_FINDS "")
foreach(prefix module IN ZIP_LISTS DRAY_PKG_PREFIXES DRAY_PKG_MODULES)
    string(APPEND DRAY_PACKAGE_FINDS
        "dray_find_for_static(DRAY_${prefix} ${module})\n")
endforeach()
configure_package_config_file(cmake/dray-config.cmake.in ${generated_dir}/dray-config.cmake
    INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${generated_dir}/dray-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${generated_dir}/dray-config.cmake ${generated_dir}/dray-config-version.cmake
        DESTINATION ${package_dir})

# From ${pcfiledir} (lib/pkgconfig) back to the prefix; absolute folders stay what they are.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
    set(DRAY_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
    file(RELATIVE_PATH to_prefix /prefix/${pc_dir} /prefix)
    string(REGEX REPLACE "/$" "" to_prefix ${to_prefix})
    set(DRAY_PC_PREFIX "\${pcfiledir}/${to_prefix}")
endif()
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY "\${prefix}"
           OUTPUT_VARIABLE DRAY_PC_LIBDIR)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY "\${prefix}"
           OUTPUT_VARIABLE DRAY_PC_INCLUDEDIR)
list(JOIN DRAY_PKG_MODULES ", " DRAY_PC_REQUIRES_PRIVATE)
configure_file(cmake/dray.pc.in ${generated_dir}/dray.pc @ONLY)
install(FILES ${generated_dir}/dray.pc DESTINATION ${pc_dir})

if(TARGET dray_cli)
    file(RELATIVE_PATH bin_to_lib /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
    set_target_properties(dray_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
    install(TARGETS dray_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Man pages are optional: docs/man/<name>.<section>.scd, when scdoc is there.
find_program(SCDOC scdoc)
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/docs/man/*.scd)
set(made "")
foreach(page IN LISTS pages)
    cmake_path(GET page STEM LAST_ONLY name) # dray.1
    cmake_path(GET name EXTENSION LAST_ONLY section)
    string(SUBSTRING ${section} 1 -1 section)
    if(SCDOC)
        set(man ${CMAKE_CURRENT_BINARY_DIR}/man/${name})
        add_custom_command(OUTPUT ${man} DEPENDS ${page} VERBATIM
            COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/man
            COMMAND sh -c "\"$1\" < \"$2\" > \"$3\"" scdoc ${SCDOC} ${page} ${man})
        list(APPEND made ${man})
        install(FILES ${man} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
    endif()
endforeach()
if(SCDOC)
    add_custom_target(dray_man ALL DEPENDS ${made})
else()
    message(STATUS "The man pages are left out: scdoc was not found")
endif()
