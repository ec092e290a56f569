# hints simulate: exact numbers of a trace that was worked out on paper, the drawing, and mistakes.
. "$DRAY_TESTS_DIR/cli/common.sh"

cat >swap.trace <<'TRACE'
# a device of one block swaps two
0       host 0        4194304 w
1000000 0    0        2097152 r
2000000 0    0x200000 1       r
3000000 0    0        2097152 w
TRACE

exits 0 hints simulate swap.trace --capacity 2M --policy default --policy prefer-host
cat >wanted <<'TEXT'
simulated: 4 accesses to 4.00 MiB of managed memory, 1 device with 2.00 MiB; counts of a model,
not measured on any device

  policy       host faults  device faults  to devices   to host  between  over the link  evictions  thrashing  throttles  pins
  default                2              3    4.06 MiB  2.06 MiB      0 B            0 B          2          0          0     0
  prefer-host            2              2         0 B       0 B      0 B       4.00 MiB          0          0          0     0
TEXT
cmp -s out wanted || { diff out wanted >&2; fail "$ran: not the wanted table"; }

exits 0 hints simulate swap.trace --capacity 2M --policy read-mostly --policy prefer-numa:0 --points 3 --json
holds "doc['simulated'] is True and doc['accesses'] == 4 and doc['devices'] == 1"
holds "doc['capacity_bytes'] == doc['block_bytes'] == 2 << 20 and doc['plot'] is None"
holds "[p['policy'] for p in doc['policies']] == ['read-mostly', 'prefer-numa:0']"
holds "doc['policies'][0]['duplicated_bytes'] == (2 << 20) + 65536 and doc['policies'][0]['note'] is None"
holds "'prefer-host' in doc['policies'][1]['note']"
holds "[p['begin_ns'] for p in doc['policies'][0]['timeline']] == [0, 1000001, 2000002]"
holds "sum(p['faults'] for p in doc['policies'][0]['timeline']) == 5"

# the drawing is XML, says what it is, and is the same every time
exits 0 hints simulate swap.trace --policy default --policy accessed-by:0 --plot one.svg
prints "drawn in one.svg"
exits 0 hints simulate swap.trace --policy default --policy accessed-by:0 --plot two.svg
cmp -s one.svg two.svg || fail "two drawings differ"
python3 - >>err 2>&1 <<'PYTHON' || fail "the drawing"
import xml.etree.ElementTree as tree
root = tree.parse("one.svg").getroot()
assert root.tag == "{http://www.w3.org/2000/svg}svg"
text = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
assert text[0] == "Simulated: swap.trace", text
assert any(each.startswith("accessed-by:0  simulated: 2 faults") for each in text), text
PYTHON

# a drawing that cannot be written whole is not left there; nothing is printed as done
exits 1 hints simulate swap.trace --plot nowhere/out.svg
silent
says "plot nowhere/out.svg"
if [ -w /dev/full ]; then
    ln -s /dev/full full.svg
    exits 1 hints simulate swap.trace --plot full.svg
    silent
    [ ! -e full.svg ] || fail "$ran: the drawing was left"
fi

# mistakes
printf '1 host 0 1 r\n1 8 0 1 r\n' >wrong.trace
exits 1 hints simulate wrong.trace
silent
says 'dray hints simulate: trace wrong.trace: line 2: a processor is wanted, host or a device from 0 to 7, found "8 0 1 r" (rule trace.processor, byte 15)'
exits 1 hints simulate wrong.trace --json
refuses_in_json format
holds "doc['error']['rule'] == 'trace.processor' and doc['error']['offset'] == 15"
: >empty.trace
exits 1 hints simulate empty.trace
says "the trace has no access"
exits 1 hints simulate nowhere.trace
says "nowhere.trace"
exits 1 hints simulate swap.trace --policy prefer-device:8
says "9 devices, at most 8 can be simulated"
exits 1 hints simulate swap.trace --policy prefer-device:2 --devices 2
says "device 2 is named, there are 2, numbered from 0"
exits 2 hints simulate swap.trace --policy prefer-device
says "--policy prefer-device:"
exits 2 hints simulate swap.trace --capacity 1M
says "a device holds one block of 2 MiB at least"
exits 2 hints simulate
says "TRACE is missing"
