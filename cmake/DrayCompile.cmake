# How everything is compiled. dray_flags: every program of ours; dray_internal: the library and the
# tests that look inside it.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, ..." FORCE)
endif()

# Sanitizers and coverage must reach every object and every link.
if(DRAY_SANITIZE)
    add_compile_options(-fsanitize=${DRAY_SANITIZE} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${DRAY_SANITIZE})
endif()
option(DRAY_COVERAGE "Count executed lines (gcov)" OFF)
if(DRAY_COVERAGE)
    add_compile_options(--coverage -fprofile-update=atomic)
    add_link_options(--coverage)
endif()
if(DRAY_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "DRAY_FUZZ needs clang, because libFuzzer is part of it.")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

add_library(dray_flags INTERFACE)
target_compile_features(dray_flags INTERFACE c_std_11)
target_compile_definitions(dray_flags INTERFACE _GNU_SOURCE)
target_compile_options(dray_flags INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    $<$<BOOL:${DRAY_WERROR}>:-Werror>)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(dray_flags INTERFACE
        -Wno-format-truncation    # messages are cut on purpose
        -Wno-maybe-uninitialized) # gcc cannot know that dray_fail() never returns DRAY_OK; clang-tidy is told
endif()
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

# What the library's own sources see, and the tests that include its private headers.
add_library(dray_internal INTERFACE)
target_link_libraries(dray_internal INTERFACE dray_flags)
target_include_directories(dray_internal INTERFACE
    ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
