# hints: the calls of a policy, and what comes of hints about a real file.
. "$DRAY_TESTS_DIR/cli/common.sh"

same() { # the last output is exactly this
    printf '%s\n' "$1" >wanted
    cmp -s out wanted || { diff wanted out >>err; fail "$ran: not what was wanted"; }
}

# explain: exact calls, no driver.
exits 0 hints explain --policy read-mostly+accessed-by:0,1 --range 8M --on cuda --json
same '{
  "policy": "read-mostly+accessed-by:0,1",
  "calls": [
    {"function": "cuMemAdvise_v2", "bytes": 8388608, "advice": "CU_MEM_ADVISE_SET_READ_MOSTLY", "location": {"type": "device", "id": 0}},
    {"function": "cuMemAdvise_v2", "bytes": 8388608, "advice": "CU_MEM_ADVISE_SET_ACCESSED_BY", "location": {"type": "device", "id": 0}},
    {"function": "cuMemAdvise_v2", "bytes": 8388608, "advice": "CU_MEM_ADVISE_SET_ACCESSED_BY", "location": {"type": "device", "id": 1}}
  ]
}'
exits 0 hints explain --policy default --range 1 --on cuda --json
holds "doc == {'policy': 'default', 'calls': []}"
exits 0 hints explain --policy prefer-device:2 --range 4K --on cuda --json
holds "doc['calls'] == [{'function': 'cuMemAdvise_v2', 'bytes': 4096, 'advice': 'CU_MEM_ADVISE_SET_PREFERRED_LOCATION', 'location': {'type': 'device', 'id': 2}}]"
exits 0 hints explain --policy prefer-numa:3 --range 4K --on cuda --driver 11.8 --json
holds "[(c['function'], c['location']) for c in doc['calls']] == [('cuMemAdvise', {'type': 'host', 'id': -1})]"
says "degraded: the driver takes no NUMA node"
exits 0 hints explain --policy reset --range 4K --on cuda --json
holds "[c['advice'].split('_', 3)[3] for c in doc['calls']] == ['UNSET_READ_MOSTLY', 'UNSET_PREFERRED_LOCATION', 'UNSET_ACCESSED_BY', 'UNSET_ACCESSED_BY']"
exits 0 hints explain --policy prefer-device:1 --range 4K --on opencl --json
holds "doc['calls'] == [{'function': 'clEnqueueSVMMigrateMem', 'bytes': 4096, 'advice': None, 'location': {'type': 'device', 'id': 1}}]"
exits 0 hints explain --policy prefer-numa:0 --range 4K --on host
same 'mbind MPOL_PREFERRED numa:0: 4096 bytes (hint 0)
move_pages numa:0: 4096 bytes (hint 0)'
exits 0 hints explain --policy read-mostly --range 4K --on host
prints "skipped (hint 0): Linux keeps one copy of a page"

# wrong usage says what is right.
exits 2 hints explain --policy prefer-gpu:0 --range 1 --on cuda
says "device:N, host, numa:N, numa:current"
exits 2 hints explain --policy reset --range 0 --on cuda
says "wanted a size"
exits 2 hints explain --policy reset --range 1 --on hip
says "cuda, opencl or host"
exits 2 hints explain --policy reset --range 1 --on host --driver 12.2
says "goes with --on cuda"
exits 2 hints apply model.gguf
says "give one of --policy, --prefetch and --release, not 0"
exits 2 hints apply model.gguf --release --prefetch host
says "not 2"
exits 2 hints apply model.gguf --prefetch none
says "host, numa:N"
exits 2 hints frobnicate

# apply: on a real file, with residency before and after.
"$EXAMPLES/make_model" . 8 || fail "make_model"
sync demo.gguf 2>/dev/null || sync
exits 0 hints apply demo.gguf --prefetch host --json
holds "doc['worst'] == 'verified' and doc['tensor_count'] == len(doc['tensors'])"
holds "doc['after']['cached_bytes'] is None or doc['after']['cached_bytes'] == doc['after']['bytes']"
holds "all(t['outcome'] == 'verified' for t in doc['tensors'])"
holds "doc['calls'][0]['function'] == 'madvise' and doc['calls'][0]['advice'] == 'MADV_POPULATE_READ'"
holds "sum(c['bytes'] for c in doc['calls']) == doc['bytes'] == sum(t['bytes'] for t in doc['tensors'])"
exits 0 hints apply demo.gguf --release --tensors 'blk.0.*' --json
holds "all(t['name'].startswith('blk.0.') for t in doc['tensors'])"
if findmnt -n -o FSTYPE -T . 2>/dev/null | grep -qv tmpfs; then
    holds "doc['worst'] == 'verified' and doc['after']['cached_bytes'] < doc['before']['cached_bytes'] / 4"
fi
exits 0 hints apply demo.gguf --policy default --json
holds "doc['calls'] == [] and doc['worst'] == 'verified'"
exits 0 hints apply demo.gguf --policy read-mostly
prints "skipped: Linux keeps one copy of a page"
exits 0 hints apply demo.gguf --policy prefer-numa:current --tensors '*.attn_q.weight'
prints "in the page cache"
exits 1 hints apply demo.gguf --prefetch numa:900
says "NUMA node 900"
exits 1 hints apply demo.gguf --release --tensors 'nothing.*'
says 'matches "nothing.*"'
exits 1 hints apply demo.gguf --release --tensors '['
exits 1 hints apply absent.gguf --release
says "absent.gguf"
exits 0 hints apply demo-safetensors/model.safetensors.index.json --prefetch host --json # two files
holds "doc['worst'] == 'verified' and len(doc['calls']) >= 2"

# probe: the host always, each family with what it has or why not.
exits 0 hints probe --json
holds "doc['backends'][0]['name'] == 'host' and doc['backends'][0]['available'] and doc['backends'][0]['node_count'] >= 1"
holds "all(b['available'] or b['unavailable'] for b in doc['backends'])"
exits 0 hints probe
prints "NUMA nodes"
