# devices lists what drivers show, and says why a family is not there. The simulated devices always are.
. "$DRAY_TESTS_DIR/cli/common.sh"

exits 0 devices
prints "sim:0"
prints "simulated device in host memory"
exits 0 devices --json
holds "[d['available'] for d in doc['devices'] if d['family'] == 'sim'] == [True, True]"
holds "{'cuda', 'opencl', 'sim'} <= {d['family'] for d in doc['devices']}"
holds "all(d['available'] == (d['unavailable'] is None) for d in doc['devices'])"
holds "all(d['unproven'] for d in doc['devices'] if d['family'] == 'cuda')"
holds "all(d['total_bytes'] > 0 and 'memory' in d['capabilities'] for d in doc['devices'] if d['available'])"
holds "len({d['name'] for d in doc['devices']}) == len(doc['devices'])"

# PoCL, where it is installed, shows the three devices that the tests ask it for.
if [ -f /etc/OpenCL/vendors/pocl.icd ]; then
    holds "sum(d['family'] == 'opencl' and d['available'] for d in doc['devices']) >= 3"
fi

exits 2 devices opencl:0
says '"opencl:0" is not wanted here'
