"""Reads the heads of model files with nothing but Python, to check what dray says of them.

    read_model.py compare MODEL.gguf|FOLDER < document of `dray inspect --json`
    read_model.py digests < document: "NAME  sha256:..." of every tensor's bytes in its file
"""
import hashlib
import json
import math
import os
import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DTYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 12: ("Q4_K", 256, 144), 14: ("Q6_K", 256, 210),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
}


class Gguf:
    def __init__(self, path):
        self.file = open(path, "rb")
        assert self.file.read(4) == b"GGUF"
        self.version, tensors, pairs = self.take("I"), self.take("Q"), self.take("Q")
        self.metadata = {}
        for _ in range(pairs):
            key = self.text()
            self.metadata.setdefault(key, self.value(self.take("I")))
        infos = [self.tensor() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        data = -(-self.file.tell() // alignment) * alignment
        self.tensors = [
            {"name": name, "dtype": dtype, "shape": shape, "file": path, "offset": data + offset, "bytes": size}
            for name, dtype, shape, offset, size in infos
        ]

    def take(self, code):
        return struct.unpack("<" + code, self.file.read(struct.calcsize("<" + code)))[0]

    def text(self):
        return self.file.read(self.take("Q")).decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            element, count = self.take("I"), self.take("Q")
            return [self.value(element) for _ in range(count)]
        return self.take(SCALARS[kind])

    def tensor(self):
        name, rank = self.text(), self.take("I")
        shape = [self.take("Q") for _ in range(rank)]
        dtype, block, size = DTYPES[self.take("I")]
        offset = self.take("Q")
        return name, dtype, shape[::-1], offset, math.prod(shape) // block * size


def safetensors(path):
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        head = json.loads(file.read(length))
    metadata = head.pop("__metadata__", {})
    tensors = [
        {
            "name": name, "dtype": entry["dtype"], "shape": entry["shape"], "file": path,
            "offset": 8 + length + entry["data_offsets"][0],
            "bytes": entry["data_offsets"][1] - entry["data_offsets"][0],
        }
        for name, entry in head.items()
    ]
    return metadata, tensors


def read(path):
    """(format, version or None, metadata, tensors)"""
    if os.path.isdir(path):
        metadata, tensors = {}, []
        for name in sorted(os.listdir(path)):
            if name.endswith(".safetensors"):
                more, found = safetensors(os.path.join(path, name))
                metadata.update(more)
                tensors += found
        return "safetensors", None, metadata, tensors
    with open(path, "rb") as file:
        if file.read(4) == b"GGUF":
            model = Gguf(path)
            return "gguf", model.version, model.metadata, model.tensors
    return ("safetensors", None, *safetensors(path))


def same(got, wanted):
    if isinstance(wanted, float) and not math.isfinite(wanted):
        return isinstance(got, str)
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    return got == wanted and isinstance(got, type(wanted))


def compare(path, doc):
    form, version, metadata, tensors = read(path)
    assert doc["format"] == form, doc["format"]
    assert version is None or doc["version"] == version, doc["version"]
    assert doc["endian"] == "little"
    assert doc["tensor_count"] == len(tensors) == len(doc["tensors"]), doc["tensor_count"]
    assert doc["tensor_bytes"] == sum(tensor["bytes"] for tensor in tensors)
    for entry in doc["files"]:
        assert os.path.getsize(entry["path"]) == entry["bytes"], entry
    assert list(doc["metadata"]) == list(metadata) or doc["metadata"].keys() == metadata.keys()
    for key, value in metadata.items():
        assert same(doc["metadata"][key], value), key
    wanted = {tensor["name"]: tensor for tensor in tensors}
    for tensor in doc["tensors"]:
        other = wanted.pop(tensor["name"])
        assert os.path.samefile(tensor["file"], other["file"]), tensor
        for field in ("dtype", "shape", "offset", "bytes"):
            assert tensor[field] == other[field], (tensor, other)
    assert not wanted, wanted


def digests(doc):
    for tensor in doc["tensors"]:
        with open(tensor["file"], "rb") as file:
            file.seek(tensor["offset"])
            data = file.read(tensor["bytes"])
        assert len(data) == tensor["bytes"], tensor
        print(tensor["name"], "sha256:" + hashlib.sha256(data).hexdigest())


if sys.argv[1] == "compare":
    compare(sys.argv[2], json.load(sys.stdin))
else:
    digests(json.load(sys.stdin))
