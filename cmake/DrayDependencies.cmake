# Libraries, all found through pkg-config.
#
# dray_optional(<name> [PKG <pkg-config module>])
#   The user decides with DRAY_WITH_<NAME>: AUTO (use it where it is found; the default), ON (it must
#   be there), OFF. DRAY_MINIMAL makes every AUTO an OFF. Found: DRAY_HAVE_<NAME> is true and
#   PkgConfig::DRAY_<NAME> exists. Otherwise: DRAY_WHY_NOT_<NAME> says why. May be asked for any number
#   of times.
# dray_uses(<name>)
#   Links the library with it and defines DRAY_HAVE_<NAME>=1 for its sources.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PKG_CONFIG_FOUND)
    message(FATAL_ERROR "pkg-config is needed to build dray: `make deps` installs it.")
endif()

set(DRAY_LINK_LIBRARIES Threads::Threads ${CMAKE_DL_LIBS})
set(DRAY_PKG_MODULES "") # pkg-config modules that a static libdray needs
set(DRAY_PKG_PREFIXES "")

macro(dray_optional name)
    cmake_parse_arguments(optional "" "PKG" "" ${ARGN})
    if(NOT optional_PKG)
        set(optional_PKG ${name})
    endif()
    string(TOUPPER ${name} optional_id)
    string(MAKE_C_IDENTIFIER ${optional_id} optional_id)
    if(NOT DEFINED DRAY_HAVE_${optional_id})
        set(DRAY_WITH_${optional_id} AUTO CACHE STRING "Use ${name}: AUTO, ON or OFF")
        set_property(CACHE DRAY_WITH_${optional_id} PROPERTY STRINGS AUTO ON OFF)
        set(DRAY_PKG_OF_${optional_id} ${optional_PKG})
        set(DRAY_HAVE_${optional_id} FALSE)
        if(DRAY_WITH_${optional_id} STREQUAL "AUTO" AND DRAY_MINIMAL)
            set(DRAY_WHY_NOT_${optional_id} "${name} was left out of this minimal build")
        elseif(DRAY_WITH_${optional_id} STREQUAL "AUTO" OR DRAY_WITH_${optional_id})
            pkg_check_modules(DRAY_${optional_id} QUIET IMPORTED_TARGET GLOBAL ${optional_PKG})
            if(DRAY_${optional_id}_FOUND)
                set(DRAY_HAVE_${optional_id} TRUE)
            elseif(DRAY_WITH_${optional_id} STREQUAL "AUTO")
                set(DRAY_WHY_NOT_${optional_id} "${name} was not found at build time")
            else()
                message(FATAL_ERROR "DRAY_WITH_${optional_id} is ON, but pkg-config knows no "
                                    "${optional_PKG}: `make deps` installs it.")
            endif()
        else()
            set(DRAY_WHY_NOT_${optional_id} "${name} was switched off at build time")
        endif()
    endif()
endmacro()

macro(dray_uses name)
    string(TOUPPER ${name} uses_id)
    string(MAKE_C_IDENTIFIER ${uses_id} uses_id)
    if(NOT "${uses_id}" IN_LIST DRAY_PKG_PREFIXES)
        list(APPEND DRAY_PKG_PREFIXES ${uses_id})
        list(APPEND DRAY_PKG_MODULES ${DRAY_PKG_OF_${uses_id}})
        list(APPEND DRAY_LINK_LIBRARIES PkgConfig::DRAY_${uses_id})
        target_compile_definitions(dray_internal INTERFACE DRAY_HAVE_${uses_id}=1)
        target_link_libraries(dray_internal INTERFACE PkgConfig::DRAY_${uses_id})
    endif()
endmacro()

# The one library we cannot do without.
pkg_check_modules(DRAY_LIBXXHASH QUIET IMPORTED_TARGET GLOBAL libxxhash)
if(NOT DRAY_LIBXXHASH_FOUND)
    message(FATAL_ERROR "libxxhash is needed to build dray, and pkg-config does not know it: "
                        "`make deps` installs it (Debian: libxxhash-dev).")
endif()
set(DRAY_PKG_OF_LIBXXHASH libxxhash)
dray_uses(libxxhash)

dray_optional(liburing)           # src/os: asynchronous file I/O
dray_optional(libnuma PKG numa)   # src/os: which NUMA node memory is on
dray_optional(libcrypto)          # src/base: SHA-256
foreach(name IN ITEMS liburing libnuma libcrypto)
    string(TOUPPER ${name} id)
    if(DRAY_HAVE_${id})
        dray_uses(${name})
    else()
        message(STATUS "Without ${name}: ${DRAY_WHY_NOT_${id}}")
    endif()
endforeach()
