# info tells what is built in, what was left out and why, and what the machine gives.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 0 info
prints "dray 0.1.0"
prints "io_uring"
prints "lockable memory"
exits 0 info --json
holds "doc['version'] == '0.1.0'"
holds "('format', 'gguf') in [(c['kind'], c['name']) for c in doc['components']]"
holds "all(c['built_in'] == (c['left_out'] is None) for c in doc['components'])"
holds "all(set(c) == {'kind', 'name', 'built_in', 'left_out', 'note', 'unproven'} for c in doc['components'])"
holds "doc['machine']['page_bytes'] == os.sysconf('SC_PAGE_SIZE')"
holds "isinstance(doc['machine']['io_uring']['works'], bool)"
holds "doc['machine']['cachestat']['works'] == (doc['machine']['cachestat']['reason'] is None)"

# The lock limit is the one that the process really has.
(ulimit -S -l 64 && "$DRAY" info --json >out 2>err) || fail "info with a small lock limit"
ran="info under ulimit -l 64"
holds "doc['machine']['lockable_bytes'] == 65536"
