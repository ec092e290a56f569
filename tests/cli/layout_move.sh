# layout move: blocks between places and shapes, checked by a loop that is not dray's, and what is refused.
. "$DRAY_TESTS_DIR/cli/common.sh"

size=blocks=8,layers=3,outer=2,page=4,inner=24,dtype=2
nhd=contiguous,$size,heads=3,format=NHD
tp=contiguous,$size,heads=3,format=universal-tp
first=layer-separate:block-first,$size,heads=3,format=HND
second=layer-separate:block-second,$size,heads=3

# Every place, both ways, reshaped.
for place in system pinned disk:there sim:0 managed:sim:0; do
    for shape in "$nhd" "$tp" "$first" "$second"; do
        case $place,$shape in # the contract suite has all of them
        pinned,contiguous* | sim*,layer* | managed*,*NHD) continue ;;
        esac
        rm -f there
        exits 0 layout move --from "$nhd@system" --to "$shape@$place" --blocks 0-3,7 --to-blocks 5,1-4 --fill \
            --verify --json
        holds "doc['verified'] and doc['filled'] and doc['source_blocks'] == 5 and doc['bytes'] == 5 * 1152"
        rm -f there
        exits 0 layout move --from "$shape@$place" --to "$second@system" --blocks 0-7 --fill --verify --json
        holds "doc['verified'] and doc['bytes'] == 8 * 1152 and doc['source']['layout'].startswith('${shape%%,*}')"
        [ "$place" != disk:there ] || [ "$(stat -c %s there)" -ge 9216 ] || fail "$ran: the filled source is gone"
    done
done

# A file of the right size is used as it is; its contents are the blocks, at the offsets that plan prints.
python3 - <<'PYTHON'
import random
open("in", "wb").write(random.Random(5).randbytes(8 * 1152))
PYTHON
cp in kept
rm -f there
exits 0 layout move --from "$nhd@disk:in" --to "$first@disk:there" --blocks 2,5-7 --to-blocks 0-3 --layers 1-2 --explain
prints "staging: 1 slot"
cmp -s in kept || fail "$ran: the source was written"
exits 0 layout plan --kind layer-separate:block-first --blocks 8 --layers 3 --outer 2 --page 4 --inner 24 \
    --dtype-bytes 2 --heads 3 --format HND --memory disk --json
cp out plan.json
python3 - >>err 2>&1 <<'PYTHON' || fail "the file does not hold what the naive loop says"
import json
plan = json.load(open("plan.json"))
source, target = open("in", "rb").read(), open("there", "rb").read()
wanted = bytearray(len(target))
for block, to in ((2, 0), (5, 1), (6, 2), (7, 3)):
    for layer in (1, 2):
        for outer in range(2):
            for token in range(4):
                for head in range(3):
                    at = ((((block * 3 + layer) * 2 + outer) * 4 + token) * 3 + head) * 16
                    place = plan["region_offsets"][layer] + ((((to * 2 + outer) * 3 + head) * 4) + token) * 16
                    wanted[place:place + 16] = source[at:at + 16]
assert target == bytes(wanted)
PYTHON
exits 0 layout move --from "$nhd@disk:in" --to "$nhd@system" --blocks 0-7 --verify # its contents, not a pattern

# Pages are split and merged in the order of both lists.
small=${nhd/page=4/page=2}
exits 0 layout move --from "$nhd@system" --to "$small@system" --blocks 3,1 --to-blocks 0,1,6,7 --fill --verify --json
holds "doc['source_blocks'] == 2 and doc['target_blocks'] == 4"
exits 0 layout move --from "$small@system" --to "$tp@system" --blocks 0-3 --to-blocks 7,2 --fill --verify --json

# Wrong usage.
exits 2 layout move --from "$nhd@system" --to "$nhd@system"
says "--blocks"
exits 2 layout move --from "$nhd" --to "$nhd@system" --blocks 0
says "the source has no @PLACE"
exits 2 layout move --from "$nhd@somewhere" --to "$nhd@system" --blocks 0
says 'the source is at "somewhere"'
exits 2 layout move --from "contiguous,blocks=8@system" --to "$nhd@system" --blocks 0
says "the source: "
exits 2 layout move --from "$nhd@system" --to "$nhd@system" --blocks 3-1
says "wanted ids and ranges like 0-3,7"
exits 2 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0-99999999
says "at most 16777216 blocks can be named"
exits 2 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0 --layers x
says "wanted a layer or a range like 0-39"
exits 2 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0 --verify
says "--verify would compare zeros with zeros"
exits 2 layout move --from "$nhd@system" --to "$small@system" --blocks 0
says "the pages have 4 and 2 tokens"
exits 2 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0 --secret-file in
says "--secret-file is about agents"

# What cannot be, and a target that was made goes again.
exits 1 layout move --from "$nhd@system" --to "$nhd@disk:new" --blocks 0-8 --json
refuses_in_json invalid
says "dray layout move: source block 8 at position 8 is out of range (max: 7)"
[ ! -e new ] || fail "$ran: the target was left behind"
exits 1 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0-2 --to-blocks 4,5,4
says "duplicate destination: target block 4 at positions 0 and 2"
exits 1 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0-2 --to-blocks 4
says "3 source blocks of 4 tokens, 1 target blocks of 4"
exits 1 layout move --from "$nhd@system" --to "$nhd@system" --blocks 0 --layers 2-3
says "layers 2 to 3 of the source are wanted, it has 3"
exits 1 layout move --from "$nhd@disk:missing" --to "$nhd@system" --blocks 0
says "source: missing does not exist; --fill makes it"
head -c 100 in >short
exits 1 layout move --from "$nhd@disk:short" --to "$nhd@system" --blocks 0
says "source: short has 100 bytes, the layout wants 9216"
exits 1 layout move --from "$nhd@system" --to "$nhd@disk:short" --blocks 0
says "target: short has 100 bytes, the layout wants 9216"
[ "$(stat -c %s short)" = 100 ] || fail "$ran: the file was changed"
exits 1 layout move --from "$nhd@disk:in" --to "$tp@disk:in" --blocks 0-3 --to-blocks 2-5
says "overlaps the source"
cmp -s in kept || fail "$ran: the file was written"
exits 0 layout move --from "$nhd@disk:in" --to "$tp@disk:in" --blocks 0-3 --to-blocks 4-7 --verify
exits 1 layout move --from "$nhd@system" --to "${nhd/dtype=2/dtype=4}@system" --blocks 0
says "incompatible elements: of 2 bytes in the source, of 4 in the target"

# opencl, where there is a driver.
if "$DRAY" devices --json | grep -q '"name": "opencl:0"'; then
    exits 0 layout move --from "$nhd@opencl:0" --to "$tp@opencl:0" --blocks 0-7 --to-blocks 1-7,0 --fill --verify --json
    holds "doc['verified']"
    exits 0 layout move --from "$first@disk:new" --to "$tp@opencl:0" --blocks 0-7 --fill --verify
    rm -f new
fi
