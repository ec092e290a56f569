# copy: what arrives is what was there, straight and through devices; files are never overwritten unasked.
. "$DRAY_TESTS_DIR/cli/common.sh"

bytes=5000123 # no multiple of anything
large=150000123 # three turns through windows of 64 MiB
head -c "$large" /dev/urandom >large
head -c "$bytes" large >a
no_opencl=
exits 0 devices --json
if ! python3 -c 'import json, sys
sys.exit(not any(d["family"] == "opencl" and d["available"] for d in json.load(open("out"))["devices"]))'; then
    no_opencl=1
fi

same_files() {
    cmp -s a b || fail "$ran: the copy differs from its source"
    [ "$(stat -c %a b)" = 600 ] || fail "$ran: the new file is readable by others"
    rm b
}

devices="sim:0 managed:sim:0"
[ -n "$no_opencl" ] || devices="$devices opencl:0 opencl:2"

exits 0 copy disk:a disk:b --verify --json
holds "doc['bytes'] == $bytes and doc['verified'] and doc['via'] is None and doc['from'] == doc['to'] == 'disk'"
holds "doc['source_xxh3'] == doc['target_xxh3'] and re.fullmatch('[0-9a-f]{32}', doc['target_xxh3'])"
holds "abs(doc['gigabytes_per_second'] * doc['seconds'] - doc['bytes'] / 1e9) < 1e-5"
same_files

for device in system pinned $devices; do
    [ "$device" != pinned ] || [ "$(ulimit -l)" = unlimited ] || continue
    exits 0 copy disk:a disk:b --via "$device" --verify --explain --json
    holds "doc['via'] == '$device' and doc['source_xxh3'] == doc['target_xxh3']"
    holds "doc['explain'][0].startswith('via: 1 window of $bytes bytes of ') and ' 1 turn;' in doc['explain'][0]"
    holds "any(line.startswith('route: disk -> ') for line in doc['explain'])"
    same_files
done

for device in system ${devices##* }; do
    exits 0 copy disk:large disk:b --via "$device" --explain --json
    holds "doc['explain'][0].startswith('via: 2 windows of 67108864 bytes of ') and ' 3 turns;' in doc['explain'][0]"
    cmp -s large b || fail "$ran: the copy differs from its source"
    rm b
done

for device in $devices; do
    exits 0 copy disk:a "$device" --verify --json --threads 0
    holds "doc['to'] == '$device' and doc['source_xxh3'] == doc['target_xxh3'] and doc['bytes'] == $bytes"
    exits 0 copy system "$device" --bytes 5M --verify --json
    holds "doc['from'] == 'system' and doc['bytes'] == 5 << 20 and doc['source_xxh3'] == doc['target_xxh3']"
    rm -f b
    exits 0 copy "$device" disk:b --bytes 7M --verify --json
    holds "doc['source_xxh3'] == doc['target_xxh3']"
    [ "$(stat -c %s b)" = $((7 << 20)) ] || fail "$ran: size"
    [ "$(head -c 65536 b | tail -c 1000 | sort -u | wc -c)" -gt 500 ] || fail "$ran: the pattern is empty"
    rm b
done
[ -n "$no_opencl" ] || {
    exits 0 copy opencl:0 opencl:1 --bytes 9M --verify --explain # two contexts: by the host
    prints "route: device -> system by opencl"
    prints "both read back"
    exits 0 copy sim:0 opencl:0 --bytes 9M --verify
}
exits 0 copy disk:a disk:b --bytes 1000
cmp -s -n 1000 a b || fail "$ran: the first bytes differ"
[ "$(stat -c %s b)" = 1000 ] || fail "$ran: size"

# A file that is there is left alone, unless asked; a source never truncates itself.
echo mine >b
exits 1 copy disk:a disk:b
says "b"
[ "$(cat b)" = mine ] || fail "$ran: an existing file was changed"
exits 0 copy disk:a disk:b --replace --verify
cmp -s a b || fail "$ran: differs"
ln a c
for other in a ./a c; do
    exits 1 copy disk:a "disk:$other" --replace --json
    says "one and the same file"
    refuses_in_json invalid
    [ "$(stat -c %s a)" = "$bytes" ] || fail "$ran: the source was cut"
done
ln -s a d
exits 1 copy disk:a disk:d --replace
[ "$(stat -c %s a)" = "$bytes" ] || fail "$ran: the source was cut through a link"
rm b c d

# What cannot be is refused before anything is made.
exits 2 copy disk:a
says "DST is missing"
exits 2 copy a b c
says "one SRC and one DST"
exits 2 copy nowhere disk:b
says 'SRC is "nowhere"'
exits 2 copy disk:a null
says 'DST is "null"'
exits 2 copy system pinned
says "--bytes SIZE"
exits 2 copy disk:a system --replace
exits 2 copy disk:a disk:b --via disk:c
says "--via disk:c: wanted system, pinned, or a device like opencl:0"
exits 1 copy disk:a disk:b --bytes 1G
says "has $bytes bytes"
exits 1 copy disk:a disk:b --via sim:9
says "numbered from 0"
exits 1 copy disk:a disk:b --via gpu:0
says "there is no such family"
exits 1 copy disk:a sim:0 --bytes 2G --json # larger than the file, and than the device
refuses_in_json invalid
exits 1 copy system sim:0 --bytes 2G --json
refuses_in_json nomem
[ ! -e b ] || fail "something was made"
: >empty
exits 1 copy disk:empty disk:b
says "is empty"
exits 1 copy disk:none disk:b

# A copy that fails leaves no file behind.
(
    ulimit -f 2000
    trap '' XFSZ
    exits 1 copy disk:a disk:b
    [ ! -e b ] || fail "a part of a file was left"
) || exit 1

[ -z "$no_opencl" ] || { echo "no OpenCL device: not tried on one" && exit 77; }
