# Every plug-in of dray, one line each (see cmake/DrayComponents.cmake). They are tried and listed
# in this order.

dray_component(backend copy)
dray_component(backend posix WANTS liburing ELSE "threads and pread")
dray_component(backend ucx NEEDS ucx)

dray_component(backend cuda UNPROVEN "no GPU so far: its tests run on a stand-in for the driver")
dray_component(backend opencl)
dray_component(backend sim_device)
dray_component(backend gds UNPROVEN "no GPU and no cuFile so far: its tests run on stand-ins for both")
dray_component(backend nixl UNPROVEN "its tests run on a stand-in, and of NIXL itself only files and host memory were tried")

dray_component(format gguf)
dray_component(format safetensors)
dray_component(format apr)
dray_component(format raw)

dray_component(codec zstd NEEDS libzstd)
dray_component(codec lz4 NEEDS liblz4)
dray_component(codec lz4_block)
dray_component(codec gzip NEEDS zlib)

dray_component(device cuda UNPROVEN "no GPU so far: its tests run on a stand-in for the driver")
dray_component(device opencl)
dray_component(device sim)

dray_component(loader elf)
dray_component(loader bundle)
dray_component(loader cubin UNPROVEN "no GPU so far: its tests run on a stand-in for the driver")
dray_component(loader ptx UNPROVEN "no GPU so far: its tests run on a stand-in for the driver")
dray_component(loader fatbin UNPROVEN "no GPU so far: its tests run on a stand-in for the driver")
dray_component(loader opencl_source)
dray_component(loader opencl_binary)
dray_component(loader spirv UNPROVEN "no device here takes SPIR-V: checked and carried, never run")
dray_component(loader hsaco UNPROVEN "known by sight only: its code is refused, by name")
dray_component(loader hip_bundle UNPROVEN "known by sight only: its code is refused, by name")
dray_component(loader wasm UNPROVEN "known by sight only: its code is refused, by name")
dray_component(loader wasm_aot UNPROVEN "known by sight only: its code is refused, by name")
