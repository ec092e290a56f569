# The progress bar is drawn on a terminal and nowhere else; headings are bold there and nowhere else.
. "$DRAY_TESTS_DIR/cli/common.sh"

"$EXAMPLES/make_model" . 32 || fail "make_model"
exits 0 load demo.gguf --to null
[ ! -s err ] || fail "something on standard error, which is no terminal"
if ! command -v script >/dev/null; then
    echo "no script(1) here: what a terminal gets is not tested"
    exit 77
fi

# What a terminal 100 columns wide gets.
on_terminal() {
    TERM=xterm script -qec "stty cols 100; $*" typescript >/dev/null </dev/null || fail "script: $*"
}
on_terminal "'$DRAY' load demo.gguf --to system --digest $DIGEST"
grep -q '%' typescript || fail "no progress bar on a terminal"
grep -q 'GB/s' typescript || fail "no rate on a terminal"
grep -q ' left' typescript || fail "no time left on a terminal"
grep -qF "$(printf '\033[1m')" typescript || fail "no bold heading on a terminal"
on_terminal "NO_COLOR=1 '$DRAY' inspect demo.gguf"
if grep -qF "$(printf '\033[1m')" typescript; then fail "NO_COLOR is not heeded"; fi
python3 - <<'PYTHON' || fail "a line is wider than the terminal"
import re
text = re.sub(rb"\x1b\[[0-9;]*[A-Za-z]", b"", open("typescript", "rb").read()).decode()
lines = [line for line in re.split("[\r\n]+", text) if not line.startswith("Script ")]
assert len(lines) > 20 and max(map(len, lines)) <= 100, max(lines, key=len)
PYTHON

# With standard output in a file, the document is clean and the bar still goes to the terminal.
on_terminal "'$DRAY' load demo.gguf --to system --digest $DIGEST --json >out"
ran="load --json on a terminal"
holds "doc['bytes'] > 0"
