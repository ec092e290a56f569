# Plug-ins. src/components.cmake holds one line for each:
#
#   dray_component(<kind> <name> [NEEDS <library>...] [WANTS <library>...] [ELSE <text>]
#                  [UNPROVEN <text>])
#
#   NEEDS     without one of these (pkg-config modules) the component is left out, never an error
#   WANTS     used where present; ELSE says what the component does without ("threads and pread")
#   UNPROVEN  what it has not been run against yet; `dray info` shows it
#
# The source is <folder of the kind>/<kind>_<name>.c (of a device: one folder deeper) and ends in the table drayi_<kind>_<name>. What
# was built, what was left out and why is generated into components.c (see src/core/components.h).

# kind, folder. The table's type is dray_<kind>_ops, the list's field is <kind>s.
set(DRAY_COMPONENT_KINDS backend format codec device loader)
set(DRAY_COMPONENT_FOLDER_backend src/backend)
set(DRAY_COMPONENT_FOLDER_format src/format)
set(DRAY_COMPONENT_FOLDER_codec src/format)
set(DRAY_COMPONENT_FOLDER_loader src/loader)
set(DRAY_COMPONENT_FOLDER_device src/device/*) # a folder for each: <folder>/<name>/device_<name>.c
list(JOIN DRAY_COMPONENT_KINDS "|" DRAY_COMPONENT_KINDS_REGEX)

# New component sources must make CMake run again, hence a glob and not if(EXISTS).
set(DRAY_COMPONENT_FILES "")
foreach(kind IN LISTS DRAY_COMPONENT_KINDS)
    set(DRAY_COMPONENTS_${kind} "") # names of those that are built
    file(GLOB found CONFIGURE_DEPENDS
         ${CMAKE_CURRENT_SOURCE_DIR}/${DRAY_COMPONENT_FOLDER_${kind}}/${kind}_*.c)
    list(APPEND DRAY_COMPONENT_FILES ${found})
endforeach()
set(DRAY_COMPONENT_LISTED "") # sources with a line, built or not
set(DRAY_COMPONENT_SOURCES "")
set(DRAY_COMPONENT_INFOS "")
set(DRAY_COMPONENT_REPORT "")

function(dray_c_string out text)
    if(text STREQUAL "")
        set(${out} NULL PARENT_SCOPE)
    else()
        string(REPLACE "\\" "\\\\" text "${text}")
        string(REPLACE "\"" "\\\"" text "${text}")
        set(${out} "\"${text}\"" PARENT_SCOPE)
    endif()
endfunction()

macro(dray_component kind name)
    cmake_parse_arguments(component "" "ELSE;UNPROVEN" "NEEDS;WANTS" ${ARGN})
    if(NOT "${kind}" IN_LIST DRAY_COMPONENT_KINDS)
        message(FATAL_ERROR "dray_component(${kind} ${name}): the kinds are ${DRAY_COMPONENT_KINDS}.")
    endif()
    string(REPLACE "*" "${name}" component_folder "${DRAY_COMPONENT_FOLDER_${kind}}")
    set(component_source ${CMAKE_CURRENT_SOURCE_DIR}/${component_folder}/${kind}_${name}.c)
    if(NOT component_source IN_LIST DRAY_COMPONENT_FILES)
        message(FATAL_ERROR "dray_component(${kind} ${name}): there is no ${component_source}.")
    endif()
    list(APPEND DRAY_COMPONENT_LISTED ${component_source})
    set(component_left_out "")
    set(component_note "")
    foreach(library IN ITEMS ${component_NEEDS})
        dray_optional(${library})
        if(NOT DRAY_HAVE_${optional_id})
            list(APPEND component_left_out "${DRAY_WHY_NOT_${optional_id}}")
        endif()
    endforeach()
    foreach(library IN ITEMS ${component_WANTS})
        dray_optional(${library})
        if(NOT DRAY_HAVE_${optional_id})
            list(APPEND component_note "without ${library}: ${component_ELSE}")
        endif()
    endforeach()
    list(JOIN component_left_out ", " component_left_out)
    list(JOIN component_note ", " component_note)

    if(component_left_out STREQUAL "")
        foreach(library IN ITEMS ${component_NEEDS} ${component_WANTS})
            dray_optional(${library})
            if(DRAY_HAVE_${optional_id})
                dray_uses(${library})
            endif()
        endforeach()
        list(APPEND DRAY_COMPONENTS_${kind} ${name})
        list(APPEND DRAY_COMPONENT_SOURCES ${component_source})
    endif()
    dray_c_string(component_c_left_out "${component_left_out}")
    dray_c_string(component_c_note "${component_note}")
    dray_c_string(component_c_proof "${component_UNPROVEN}")
    string(APPEND DRAY_COMPONENT_INFOS
        "    {\"${kind}\", \"${name}\", ${component_c_left_out}, ${component_c_note},"
        " ${component_c_proof}},\n")
    if(component_left_out)
        string(APPEND DRAY_COMPONENT_REPORT "\n   ${kind} ${name}: left out, ${component_left_out}")
    elseif(component_note)
        string(APPEND DRAY_COMPONENT_REPORT "\n   ${kind} ${name}, ${component_note}")
    else()
        string(APPEND DRAY_COMPONENT_REPORT "\n   ${kind} ${name}")
    endif()
endmacro()

# Writes components.c and returns it together with the sources of what is built.
function(dray_generate_components out_sources)
    foreach(file IN LISTS DRAY_COMPONENT_FILES)
        if(NOT file IN_LIST DRAY_COMPONENT_LISTED)
            message(SEND_ERROR "${file} looks like a component but has no line in src/components.cmake.")
        endif()
    endforeach()

    set(tables "")
    set(fields "")
    foreach(kind IN LISTS DRAY_COMPONENT_KINDS)
        set(entries "")
        foreach(name IN LISTS DRAY_COMPONENTS_${kind})
            string(APPEND tables "extern const dray_${kind}_ops drayi_${kind}_${name};\n")
            string(APPEND entries "    &drayi_${kind}_${name},\n")
        endforeach()
        string(APPEND tables
            "static const dray_${kind}_ops *const ${kind}s[] = {\n${entries}    NULL,\n};\n\n")
        string(APPEND fields "    .${kind}s = ${kind}s,\n")
    endforeach()

    set(generated ${CMAKE_CURRENT_BINARY_DIR}/components.c)
    file(CONFIGURE OUTPUT ${generated} @ONLY CONTENT [[
// Generated by cmake/DrayComponents.cmake from src/components.cmake.
#include "core/components.h"

#include <stddef.h>

@tables@static const dray_component_info infos[] = {
@DRAY_COMPONENT_INFOS@    {NULL, NULL, NULL, NULL, NULL}, // so that the array is never empty
};

const drayi_component_list drayi_components = {
@fields@    .infos = infos,
    .info_count = sizeof infos / sizeof *infos - 1,
};
]])
    set(${out_sources} ${DRAY_COMPONENT_SOURCES} ${generated} PARENT_SCOPE)
endfunction()

function(dray_report_components)
    message(STATUS "Components:${DRAY_COMPONENT_REPORT}")
endfunction()
