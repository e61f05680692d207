"""What hostile files are made of: pickles, archives and tensors, written instruction by instruction."""

import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

File = tuple[str, bytes]
"""What is wrong with it, and its bytes."""


@dataclass(frozen=True)
class Kit:
    """What hostile files are made of: a good checkpoint in each format, and the file that payloads would leave."""

    zip: bytes
    own: bytes
    legacy: bytes
    pickle: bytes
    pickle2: bytes
    safetensors: bytes
    sentinel: str


INFO: dict[str, Any] = {
    "name": "simclr",
    "method": "simclr",
    "term": "none",
    "dataset": "none",
    "epochs": 1,
    "seed": 0,
    "input_size": 64,
    "mean": (0.4, 0.45, 0.5),
    "std": (0.2, 0.25, 0.3),
    "recipe_hash": "0" * 64,
}


def saved(content: Any, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


# Pickles, instruction by instruction.


def literal(value: Any) -> bytes:
    """Return the instructions that make a value of Python's own, without a memo."""
    return pickletools.optimize(pickle.dumps(value, protocol=2))[2:-1]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def long(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def called(module: str, name: str, *arguments: Any) -> bytes:
    return named(module, name) + literal(arguments) + b"R"


def mapping(parts: Mapping[str, bytes]) -> bytes:
    return b"}" + b"".join(text(key) + part + b"s" for key, part in parts.items())


def pickled(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def beside(good: bytes, entry: bytes) -> bytes:
    """Return a pickle of a dictionary with one entry more."""
    assert good.endswith(b".")
    return good[:-1] + text("extra") + entry + b"s."


def before(good: bytes, entry: bytes) -> bytes:
    """Return a pickle that makes something first, and throws it away."""
    return good[:2] + entry + b"0" + good[2:]


# Torch files.

Records = Sequence[tuple[str, bytes]]


def records_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zip_of(records: Records, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in records:
            entry = zipfile.ZipInfo(name)
            entry.filename, entry.compress_type = name, compression
            with archive.open(entry, "w") as record:
                record.write(data)
    return file.getvalue()


def with_pickle(good: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return a torch zip whose data.pkl is changed."""
    records = records_of(good).items()
    return zip_of([(name, change(data) if name.endswith("data.pkl") else data) for name, data in records])


def legacy_ends(data: bytes) -> list[int]:
    """Return where the five pickles of a torch file from before version 1.6 end."""
    ends, file = [], io.BytesIO(data)
    for _ in range(5):
        for _operation in pickletools.genops(file):
            pass
        ends.append(file.tell())
    return ends


def with_legacy_pickle(good: bytes, change: Callable[[bytes], bytes]) -> bytes:
    _, _, start, end, _ = legacy_ends(good)
    return good[:start] + change(good[start:end]) + good[end:]


def torch_zip(body: bytes, storages: Mapping[str, bytes] | None = None) -> bytes:
    storages = {"0": bytes(64)} if storages is None else storages
    data = [(f"archive/data/{key}", record) for key, record in storages.items()]
    return zip_of([("archive/data.pkl", pickled(body, 2)), ("archive/byteorder", b"little"), *data])


def torch_legacy(body: bytes, keys: Any = ("0",), storages: bytes = struct.pack("<q", 16) + bytes(64)) -> bytes:
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    system = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    return start + system + pickled(body, 2) + pickle.dumps(list(keys), 2) + storages


def storage(kind: str = "FloatStorage", key: Any = "0", count: Any = 16, view: bytes = b"") -> bytes:
    parts = [text("storage"), named("torch", kind), literal(key), literal("cpu"), literal(count), view]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(
    offset: Any = 0, size: Any = (4, 4), stride: Any = (4, 1), stored: bytes = b"", name: str = "_rebuild_tensor_v2"
) -> bytes:
    hooks = b"\x89" + named("collections", "OrderedDict") + b")R"
    parts = [stored or storage(), literal(offset), literal(size), literal(stride), hooks]
    return named("torch._utils", name) + b"(" + b"".join(parts) + b"tR"


NUMPY = "numpy.core.multiarray"


def dtype(code: str = "f4", order: str = "<") -> bytes:
    state = (3, order, None, None, None, -1, -1, 0)
    return called("numpy", "dtype", code, False, True) + literal(state) + b"b"


def array(shape: Any = (4,), data: bytes = bytes(16), kind: bytes = b"") -> bytes:
    empty = named(NUMPY, "_reconstruct") + b"(" + named("numpy", "ndarray") + literal((0,)) + b"C\x01btR"
    content = b"B" + struct.pack("<I", len(data)) + data
    return empty + b"(K\x01" + literal(shape) + (kind or dtype()) + b"\x89" + content + b"tb"


SPAWNS = "torch.distributed.elastic.multiprocessing.subprocess_handler"
"""Has a class that starts a process when an object of it is made."""


def spawning(mark: str) -> tuple[Any, ...]:
    return ("/usr/bin/touch", (mark,), {}, None, None, 0, None)
