# layout plan: sizes, strides and addresses, as the formulae say, and every rule with its own sentence.
. "$DRAY_TESTS_DIR/cli/common.sh"

plan() {
    exits 0 layout plan --blocks "$1" --layers "$2" --outer "$3" --page "$4" --inner "$5" --dtype-bytes "$6" \
        --kind "$7" "${@:8}" --json
}

# The field's own shape, in all three kinds.
plan 2 3 2 4 8 2 contiguous --address 1,2,1
holds "doc == {'required_allocations': [768], 'region_offsets': [0],
    'strides': {'block': 384, 'layer': 128, 'outer': 64}, 'bytes_per_block': 384, 'padding_bytes': 0,
    'address': {'region': 0, 'offset': 704, 'bytes': 64}}"
plan 2 3 2 4 8 2 layer-separate:block-first --address 1,2,1
holds "doc == {'required_allocations': [256] * 3, 'region_offsets': [0, 256, 512],
    'strides': {'block': 128, 'layer': 0, 'outer': 64}, 'bytes_per_block': 384, 'padding_bytes': 0,
    'address': {'region': 2, 'offset': 192, 'bytes': 64}}"
plan 2 3 2 4 8 2 layer-separate:block-second --address 1,2,1
holds "doc == {'required_allocations': [256] * 3, 'region_offsets': [0, 256, 512],
    'strides': {'block': 64, 'layer': 0, 'outer': 128}, 'bytes_per_block': 384, 'padding_bytes': 0,
    'address': {'region': 2, 'offset': 192, 'bytes': 64}}"

# Alignment holds for regions and for blocks; files start every region where direct I/O can.
plan 2 3 2 4 8 2 contiguous --align 512
holds "doc['strides'] == {'block': 512, 'layer': 128, 'outer': 64} and doc['padding_bytes'] == 256"
holds "'address' not in doc"
plan 2 3 2 4 8 2 layer-separate:block-first --memory disk
holds "doc['region_offsets'] == [0, 4096, 8192] and doc['padding_bytes'] == 3 * 4096 - 768"
plan 2 3 2 4 8 2 layer-separate:block-first --memory opencl:0
holds "doc['region_offsets'] == [0, 256, 512]"

# Against the formulae, for a model of 70 billion parameters and its neighbours.
for kind in contiguous layer-separate:block-first layer-separate:block-second; do
    for align in 1 65536; do
        plan 256 80 2 16 1024 2 $kind --heads 8 --align $align --address 255,79,1
        holds "(lambda B, L, O, slice, up, kind: (
            lambda stride: doc['strides'] == stride and doc['address'] == {
                'region': 0 if kind == 'contiguous' else 79, 'bytes': slice,
                'offset': 255 * stride['block'] + 79 * stride['layer'] + stride['outer']}
            and doc['bytes_per_block'] == L * O * slice
            and sum(doc['required_allocations']) - B * L * O * slice == doc['padding_bytes']
        )({'contiguous': {'block': up(L * O * slice), 'layer': O * slice, 'outer': slice},
           'layer-separate:block-first': {'block': up(O * slice), 'layer': 0, 'outer': slice},
           'layer-separate:block-second': {'block': up(slice), 'layer': 0, 'outer': up(slice) * B}}[kind])
        )(256, 80, 2, 16 * 1024 * 2, lambda n: -(-n // $align) * $align, '$kind')"
    done
done

# For people: a drawing.
exits 0 layout plan --blocks 4 --layers 80 --outer 2 --page 16 --inner 1024 --dtype-bytes 2 --heads 8 \
    --kind contiguous --address 3,0,1
prints "  |layer 0            |layer 1            | ... |layer 79           |"
prints "  |K        |V        |K        |V        | ... |K        |V        |"
prints "block b, at b x 5242880:"
prints "      16 tokens, 2048 bytes apart"
prints "block 3, layer 0, outer 1: region 0, offset 15761408, 32768 bytes"

# Every rule has its own sentence.
shape=(--blocks 2 --layers 3 --outer 2 --page 4 --inner 8 --dtype-bytes 2 --kind contiguous)
refused() { # OPTION VALUE SENTENCE
    local words=("${shape[@]}")
    for i in "${!words[@]}"; do
        [ "${words[$i]}" != "$1" ] || words[i + 1]=$2
    done
    [[ " ${shape[*]} " == *" $1 "* ]] || words+=("$1" "$2")
    exits 1 layout plan "${words[@]}" --json
    says "dray layout plan: $3"
}
refused --blocks 0 "num_blocks must be at least 1, it is 0"
refused --layers 0 "num_layers must be at least 1, it is 0"
refused --layers 4294967296 "num_layers must be at most 4294967295, it is 4294967296"
refused --outer 3 "outer_dim must be 1 (MLA) or 2 (K and V), it is 3"
refused --page 12 "page_size must be a positive power of 2, it is 12"
refused --inner 0 "inner_dim must be at least 1, it is 0"
refused --dtype-bytes 3 "dtype_width_bytes must be a power of two and at most 8 bytes, it is 3"
refused --dtype-bytes 0 "dtype_width_bytes must be a power of two and at most 8 bytes, it is 0"
refused --align 24 "alignment must be a power of 2, it is 24"
refused --align 0 "alignment must be a power of 2, it is 0"
refused --heads 3 "inner_dim must be divisible by num_heads, 8 is not by 3"
refused --heads 0 "num_heads must be positive, it is 0"
refused --format HND "num_heads is required for the block format HND"
refused --blocks 18446744073709551615 "allocation size overflow: the contents of"
refused --address 2,0,0 "block ID 2 out of range (max: 1)"
refused --address 0,3,0 "layer ID 3 out of range (max: 2)"
refused --address 0,0,2 "outer ID 2 out of range (max: 1)"
refuses_in_json invalid

# Wrong usage.
exits 2 layout plan "${shape[@]}" --address 1,2
says "--address 1,2: wanted a block, a layer and an outer, like 0,3,1"
exits 2 layout plan "${shape[@]}" --memory null
says "wanted system, pinned, device, managed, disk or a device like opencl:0"
exits 2 layout plan "${shape[@]}" --heads -1
says "wanted a whole number"
exits 2 layout plan --kind rows
says "wanted contiguous, layer-separate:block-first or layer-separate:block-second"
exits 2 layout plan --blocks 1
exits 2 layout
exits 0 layout --help
prints "layout plan"
