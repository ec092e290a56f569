# Kernels that a driver compiles at run time: sources in the tree, carried by the library as bytes.
set(DRAY_KERNEL_SOURCES)
foreach(kernel IN ITEMS opencl/loops.cl cuda/loops.cu)
    string(REGEX REPLACE "[/.]" "_" name ${kernel}) # opencl_loops_cl
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/src/device/${kernel})
    set(generated ${CMAKE_CURRENT_BINARY_DIR}/${name}.c)
    add_custom_command(OUTPUT ${generated}
        COMMAND ${CMAKE_COMMAND} -DINPUT=${source} -DOUTPUT=${generated} -DNAME=drayi_${name}
                -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/DrayShim.cmake
        DEPENDS ${source} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/DrayShim.cmake VERBATIM)
    list(APPEND DRAY_KERNEL_SOURCES ${generated})
endforeach()
