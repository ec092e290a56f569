#!/usr/bin/env python3
"""Checks the layers of docs/ARCHITECTURE.md (section 3) from the #include lines, and that file names
are unique. Usage: check_layers.py <repository>

A layer owns src/<layer>/ and its public headers. What a layer may include is the table below; its own
folder goes without saying, and so do system headers.
"""
import pathlib
import re
import sys

# Public headers by layer; a header that is not named here belongs to the layer of its own name, and one
# in spi/ to the layer spi.
PUBLIC = {
    "base.h": "base",
    "context.h": "base",  # only the opaque type and its options: every layer is handed a context
    "dtype.h": "base",  # element types: plain facts
    "agent.h": "transfer",
    "simulate.h": "hints",
    "ffi.h": "abi",
    "export.h": "abi",
    "trust.h": "base",  # plain facts
    "bundle.h": "module",
    "listener.h": "transfer",
    "model_data.h": "memory",  # the bytes of a file, and where they are
    "spi/region.h": "memory",  # what memory shows to plug-ins
    "dray.h": "all",  # includes everything, for users
}

PLUGIN = {"spi", "abi", "memory", "os", "base"}
UPPER = {"transfer:public"} | PLUGIN

MAY_INCLUDE = {
    "base": set(),
    "os": {"base"},
    "abi": {"base"},
    "shim": {"abi:public"},  # a library of its own
    "memory": {"os", "base"},
    # the tables of plug-ins speak of regions and values, so of the public types below them
    "spi": {"memory:public", "abi:public", "device:public", "hints:public", "base:public"},
    "format": PLUGIN,
    "backend": PLUGIN,
    "device": PLUGIN,
    "loader": PLUGIN | {"module:public"},  # the options that a load is asked with
    "transfer": {"spi", "memory", "os", "base"},
    "weights": UPPER,
    "layout": UPPER,
    "hints": UPPER,
    "module": UPPER | {"device:public"},
    "cache": UPPER | {"layout"},
}
EVERYTHING = {"core", "tests"}
USERS = {"cli", "examples", "bench"}  # public headers and their own folder

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')


def layer_of(path):
    """(layer, is it public) of a path inside the repository; None when it is no business of ours."""
    parts = path.parts
    if parts[:2] == ("include", "dray"):
        name = "/".join(parts[2:])
        return PUBLIC.get(name, "spi" if parts[2] == "spi" else path.stem), True
    if parts[0] == "src":
        return parts[1], False
    return parts[0], False


def resolve(root, file, name):
    """The file that an include line means, or None for a system header."""
    for folder in (file.parent, root / "src", root / "include", root / "tests", root / "tests/support"):
        candidate = (folder / name).resolve()
        if candidate.is_file():
            return candidate.relative_to(root)
    return None


def allowed(file_layer, file_public, layer, public):
    if layer == file_layer and (public or not file_public):
        return True
    if file_layer == "cli" and layer == "bench":
        return True  # `dray bench` is bench/ as a verb
    if file_layer in USERS or file_layer == "all":
        return public
    if file_layer in EVERYTHING:
        return True
    if file_public and not public:
        return False
    table = MAY_INCLUDE.get(file_layer, set())
    return layer in table or (public and layer + ":public" in table)


def check_includes(root, files):
    for file in files:
        here = file.relative_to(root)
        layer, public = layer_of(here)
        if layer not in MAY_INCLUDE and layer not in EVERYTHING | USERS | {"all"}:
            yield f"{here}: layer {layer} is not in the table of tests/lint/check_layers.py"
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            target = resolve(root, file, match[1]) if match else None
            if target and not allowed(layer, public, *layer_of(target)):
                yield f"{here}:{number}: {layer} may not include {target} ({layer_of(target)[0]})"


def check_names(root, files):
    """Sources and private headers share one space of names; public headers are named by their nouns."""
    seen = {}
    for file in files:
        if layer_of(file.relative_to(root))[1]:
            continue
        other = seen.setdefault(file.name, file)
        if other is not file:
            yield f"{file.relative_to(root)}: {other.relative_to(root)} has the same name"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    files = sorted(
        file
        for folder in ("include", "src", "cli", "examples", "bench", "tests")
        for file in (root / folder).rglob("*.[ch]")
        if "consumer" not in file.parts
    )
    problems = [*check_includes(root, files), *check_names(root, files)]
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems")
    return bool(problems) or not files


if __name__ == "__main__":
    sys.exit(main())
