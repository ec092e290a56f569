#!/usr/bin/env python3
"""Compares the verdicts of test_safetensors.c with those of the reference parser.

    python3 -m venv /tmp/oracle && /tmp/oracle/bin/pip install safetensors numpy
    mkdir /tmp/cases && DRAY_WRITE_CASES=/tmp/cases build/dev/tests/unit_test_safetensors
    /tmp/oracle/bin/python tests/oracle/safetensors_oracle.py /tmp/cases

Fails when we accept what the reference refuses. What we refuse and it accepts is listed: each must be
one of our strict verdicts. No part of the test run, because the reference comes from the network.
"""
import pathlib
import sys

import safetensors


def reference_accepts(contents):
    try:
        safetensors.deserialize(contents)
        return True, ""
    except Exception as error:  # its own class, and whatever Python adds
        return False, str(error)


def main(folder):
    looser, stricter, same = [], [], 0
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        contents = path.read_bytes()
        accepted, why = reference_accepts(contents)
        ours = path.stem.endswith("accept")
        header = contents[8:8 + int.from_bytes(contents[:8], "little")]
        if ours == accepted:
            same += 1
        elif ours:
            looser.append((path.name, why, header))
        else:
            stricter.append((path.name, header))
    print(f"safetensors {safetensors.__version__}: {same} verdicts alike")
    for name, header in stricter:
        print(f"  we refuse, it accepts  {name}  {header!r}")
    for name, why, header in looser:
        print(f"  WE ACCEPT, IT REFUSES  {name}  {why}  {header!r}")
    return 1 if looser or not same else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
