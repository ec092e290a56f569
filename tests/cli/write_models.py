"""Small GGUF files of the kinds that make_model does not write: big.gguf (big endian) and
part-0000N-of-00002.gguf (split). Every tensor holds the numbers 0, 1, 2, ... as F32."""
import struct

ALIGNMENT = 32


def text(order, value):
    return struct.pack(order + "Q", len(value)) + value.encode()


def pad(data):
    return data + bytes(-len(data) % ALIGNMENT)


def gguf(path, order, pairs, tensors):
    head = b"GGUF" + struct.pack(order + "IQQ", 3, len(tensors), len(pairs))
    for key, kind, code, value in pairs:
        head += text(order, key) + struct.pack(order + "I", kind)
        head += text(order, value) if code is None else struct.pack(order + code, value)
    data = b""
    for name, shape in tensors:
        count = shape[0] * shape[1]
        head += text(order, name) + struct.pack(order + "IQQIQ", 2, shape[1], shape[0], 0, len(data))
        data = pad(data + struct.pack(f"{order}{count}f", *range(count)))
    with open(path, "wb") as file:
        file.write(pad(head) + data)


def split(number):
    return [("split.no", 2, "H", number), ("split.count", 2, "H", 2), ("split.tensors.count", 5, "i", 3)]


NAME = ("general.architecture", 8, None, "llama")
gguf("big.gguf", ">", [NAME, ("llama.block_count", 4, "I", 7)], [("blk.0.a", (3, 5)), ("blk.1.b", (2, 8))])
gguf("part-00001-of-00002.gguf", "<", [NAME, *split(0)], [("blk.0.a", (3, 5))])
gguf("part-00002-of-00002.gguf", "<", split(1), [("blk.1.b", (2, 8)), ("blk.1.c", (4, 8))])
