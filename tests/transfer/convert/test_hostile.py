"""Files from strangers: hostile, broken or of something else, each refused in one line, with nothing run or written.

Every family yields files that must be refused whatever the rest of them says; the corruptions among them change what no
reader may overlook. Each payload would leave a file behind if it were run.
"""

import codecs
import functools
import gzip
import hashlib
import io
import itertools
import json
import os
import pickle
import pickletools
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image

from superinfo.artifacts import OVERLAY, WEIGHTS, CheckpointInfo, Conversion, EncoderSpec
from superinfo.encoders import build_encoder
from superinfo.errors import SuperInfoError, UserError
from superinfo.files import file_sha256
from superinfo.runs import peak_memory_mib, reset_peak_memory
from transfer.convert import convert
from transfer.convert.export import load_reading
from transfer.convert.inspection import inspect, render
from transfer.convert.recognition import read_encoder
from transfer.convert.resnet import to_detectron2

HANGS_AFTER = 20
"""Seconds; each file takes milliseconds."""
LONGEST_LINE = 300
"""Characters, path included if it is short."""

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


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    spec = EncoderSpec(arch="resnet18", width=0.125)
    torch.manual_seed(0)
    state = {key: tensor.clone() for key, tensor in build_encoder(spec).state_dict().items()}
    info = CheckpointInfo(encoder=spec, **INFO)
    arrays = {to_detectron2(key): tensor.numpy() for key, tensor in state.items() if tensor.is_floating_point()}
    model = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    own = {"superinfo": info.model_dump(mode="json"), "state_dict": state}
    return Kit(
        zip=saved({"state_dict": state, "epoch": 3}),
        own=saved(own),
        legacy=saved({"state_dict": state, "epoch": 3}, zipped=False),
        pickle=pickle.dumps(model, protocol=4),
        pickle2=pickle.dumps(model, protocol=2),
        safetensors=safetensors.torch.save(state, {"format": "pt"}),
        sentinel=str(tmp_path_factory.mktemp("sentinel") / "was_run"),
    )


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


# Families.


def cut_zips(kit: Kit) -> Iterator[File]:
    """A download that ended: at each record, in its header, name and data, in the directory and the last record."""
    for label, data in (("zip", kit.zip), ("own", kit.own)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries, directory = archive.infolist(), archive.start_dir
        cuts = {entry.header_offset + step for entry in entries[::9] for step in (1, 4, 29, 30, 40, 200)}
        cuts |= {entry.header_offset for entry in entries[1::4]}
        pkl = entries[0].header_offset
        cuts |= {pkl + step for step in range(60, entries[0].file_size, 1500)}
        cuts |= {directory, directory + 1, directory + 46, (directory + len(data)) // 2}
        cuts |= {len(data) - step for step in (1, 2, 10, 21, 22, 23)}
        for cut in sorted(cuts):
            yield f"{label} cut at {cut}", data[:cut]


def holed_zips(kit: Kit) -> Iterator[File]:
    """Pieces missing from the middle, with the directory in place."""
    with zipfile.ZipFile(io.BytesIO(kit.zip)) as archive:
        entries = archive.infolist()
    for entry, length in itertools.product(entries[2::15], (1, 64, 1000)):
        start = entry.header_offset + 20
        yield f"{length} bytes missing at {start}", kit.zip[:start] + kit.zip[start + length :]


def cut_legacy(kit: Kit) -> Iterator[File]:
    data, ends = kit.legacy, legacy_ends(kit.legacy)
    cuts = {end + step for end in ends for step in (-1, 0, 1)} | {1, 2, 5}
    cuts |= set(range(ends[2], ends[3], (ends[3] - ends[2]) // 40))
    cuts |= set(range(ends[3], ends[4], (ends[4] - ends[3]) // 20))
    cuts |= {ends[4] + step for step in (4, 7, 8, 9)} | {len(data) - step for step in (1, 3, 4, 8, 9)}
    cuts |= set(range(ends[4], len(data), (len(data) - ends[4]) // 40))
    for cut in sorted(cuts):
        yield f"legacy cut at {cut}", data[:cut]


def cut_pickles(kit: Kit) -> Iterator[File]:
    for protocol, data in ((4, kit.pickle), (2, kit.pickle2)):
        places = [place for _, _, place in pickletools.genops(data) if place]
        assert places
        cuts = set(places[:: len(places) // 30]) | {place + 1 for place in places[7 :: len(places) // 20]}
        cuts |= {1, 2, 3, 10, 11, len(data) - 1, len(data) - 2, len(data) // 2}
        for cut in sorted(cuts):
            yield f"pickle of protocol {protocol} cut at {cut}", data[:cut]


def cut_safetensors(kit: Kit) -> Iterator[File]:
    data = kit.safetensors
    start = 8 + int.from_bytes(data[:8], "little")
    cuts = {1, 4, 7, 8, 9, 10, start - 2, start - 1, start, start + 1, len(data) - 1, len(data) - 4}
    cuts |= set(range(9, start, start // 25)) | set(range(start, len(data), (len(data) - start) // 20))
    for cut in sorted(cuts):
        yield f"safetensors cut at {cut}", data[:cut]


def patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def corrupt_zips(kit: Kit) -> Iterator[File]:
    """Signatures, places, sizes and methods that are not what they were."""
    data = kit.zip
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries, place = archive.infolist(), archive.start_dir
    for number, entry in enumerate(entries):
        at = place
        place += 46 + sum(struct.unpack_from("<HHH", data, at + 28))
        if number % 12:
            continue
        for byte in range(4):
            yield f"{entry.filename}: directory's signature", patched(data, at + byte, bytes([data[at + byte] ^ 0x20]))
            local = entry.header_offset + byte
            yield f"{entry.filename}: signature", patched(data, local, bytes([data[local] ^ 0x20]))
        yield f"{entry.filename}: deflated", patched(data, at + 10, struct.pack("<H", 8))
        yield f"{entry.filename}: of method 99", patched(data, at + 10, struct.pack("<H", 99))
        yield f"{entry.filename}: encrypted", patched(data, at + 8, struct.pack("<H", entry.flag_bits | 1))
        yield f"{entry.filename}: of other size", patched(data, at + 24, struct.pack("<I", entry.file_size + 4))
        if "/data/" in entry.filename:  # a pickle ends where it says
            yield f"{entry.filename}: grown", patched(data, at + 20, struct.pack("<II", *[entry.file_size + 4] * 2))
        yield f"{entry.filename}: enormous", patched(data, at + 20, struct.pack("<II", *[2**32 - 2] * 2))
        yield f"{entry.filename}: elsewhere", patched(data, at + 42, struct.pack("<I", entry.header_offset + 1))
        yield f"{entry.filename}: far away", patched(data, at + 42, struct.pack("<I", 2**32 - 2))
        name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
        for what, lengths in (("name", (name + 64, extra)), ("extra", (name, extra + 64)), ("no extra", (name, 0))):
            if lengths != (name, extra):  # either moves the data
                moved = patched(data, entry.header_offset + 26, struct.pack("<HH", *lengths))
                yield f"{entry.filename}: {what} of other length", moved


def flipped_zips(kit: Kit) -> Iterator[File]:
    """A bit of a record, which the archive's checksums tell."""
    draw = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(kit.zip)) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")] * 40
        entries += [entry for entry in archive.infolist() if "/data/" in entry.filename][::3]
    for entry in entries:
        start = entry.header_offset + 30 + sum(struct.unpack_from("<HH", kit.zip, entry.header_offset + 26))
        place = start + draw.randrange(entry.file_size)
        flipped = bytes([kit.zip[place] ^ 1 << draw.randrange(8)])
        yield f"{entry.filename}: a bit flipped at {place}", patched(kit.zip, place, flipped)


NO_DATA = (0xFF, 0x00, ord("i"), ord("o"), 0x82, 0x83, 0x84, 0x97, 0x98)
"""No instructions of pickle, and those that no data needs: instances of old, the registry of extensions, buffers."""


def corrupt_pickles(kit: Kit) -> Iterator[File]:
    """Instructions that data does not need in place of those that were there."""

    def change(data: bytes, number: int, of: int) -> bytes:
        places = [place for _, _, place in pickletools.genops(data)]
        place = places[len(places) * number // of]
        assert place is not None
        return patched(data, place, bytes([NO_DATA[number % len(NO_DATA)]]))

    for number in range(30):
        yield f"data.pkl, instruction {number}/30", with_pickle(kit.zip, partial(change, number=number, of=30))
        yield f"legacy, instruction {number}/30", with_legacy_pickle(kit.legacy, partial(change, number=number, of=30))
        yield f"pickle, instruction {number}/30", change(kit.pickle, number, 30)


def corrupt_legacy(kit: Kit) -> Iterator[File]:
    """The magic number, and the sizes in the table of storages."""
    data, place = kit.legacy, legacy_ends(kit.legacy)[4]
    for byte in range(4, 14):
        yield f"magic number, byte {byte}", patched(data, byte, bytes([data[byte] ^ 1]))
    for number in range(20):
        size = struct.unpack_from("<q", data, place)[0]
        for other in (size + 1, size - 1, 2**62, -1) if number % 4 == 0 else ():
            yield f"storage {number}: {other} elements", patched(data, place, struct.pack("<q", other))
        itemsize = 8 if data[place + 8 + 8 * size : place + 16 + 8 * size] and size == 1 else 4
        place += 8 + size * itemsize


def corrupt_safetensors(kit: Kit) -> Iterator[File]:
    data = kit.safetensors
    length = int.from_bytes(data[:8], "little")
    for bit in range(64):
        yield f"header's length, bit {bit}", struct.pack("<Q", length ^ 1 << bit) + data[8:]
    marks = [place for place in range(8, 8 + length) if data[place] in b'{}[]:,"']
    for place in marks[:: len(marks) // 40]:
        yield f"no {chr(data[place])} at {place}", patched(data, place, b"#")
    for number, name in enumerate(("conv1.weight", "layer2.0.conv1.weight", "layer4.1.bn2.bias")):
        for field, value in BAD_PARTS:
            changed = {name: {field: value}}
            yield f"{name}: {field} {value}", with_header(data, changed, number)


BAD_PARTS: tuple[tuple[str, Any], ...] = (
    ("shape", []),
    ("shape", [1]),
    ("shape", [-1]),
    ("shape", [1.5]),
    ("shape", "no"),
    ("shape", None),
    ("shape", [2**62, 2**62]),
    ("shape", [2**64]),
    ("shape", [10**400]),
    ("shape", [0, 2**63]),
    ("shape", [[8]]),
    ("dtype", "F64"),
    ("dtype", "F17"),
    ("dtype", 4),
    ("dtype", None),
    ("data_offsets", [0, 2**63]),
    ("data_offsets", [4, 0]),
    ("data_offsets", [-4, 0]),
    ("data_offsets", [2**64, 2**64 + 4]),
    ("data_offsets", [0]),
    ("data_offsets", [3, 7]),
    ("data_offsets", None),
)


def with_header(data: bytes, changed: Mapping[str, Mapping[str, Any]], _: int = 0) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, part in changed.items():
        header[name] = {**header.get(name, {}), **part}
    return safetensors_of(json.dumps(header).encode(), data[8 + length :])


def safetensors_of(header: bytes, data: bytes = bytes(64)) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def lying_safetensors(kit: Kit) -> Iterator[File]:
    part = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    good = json.dumps({"conv1.weight": part}).encode()
    for length in (0, 1, 2, 2**16, 2**31, 2**32, 2**40, 2**63, 2**64 - 1):
        yield f"header of {length} bytes", struct.pack("<Q", length) + good + bytes(16)
    headers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("overlap", {"a": part, "b": part}),
        ("partial overlap", {"a": part, "b": {**part, "data_offsets": [8, 24]}}),
        ("hole", {"a": part, "b": {**part, "data_offsets": [32, 48]}}),
        ("tail", {"a": part}),
        ("nothing", {}),
        ("metadata of numbers", {"__metadata__": {"format": 3}, "a": part}),
        ("metadata that is a list", {"__metadata__": ["x"], "a": part}),
        ("number for a tensor", {"a": 1}),
        ("text for a tensor", {"a": "tensor"}),
        ("no shape", {"a": {"dtype": "F32", "data_offsets": [0, 16]}}),
        ("no offsets", {"a": {"dtype": "F32", "shape": [4]}}),
        ("other field", {"a": {**part, "more": 1, "shape": [5]}}),
        ("no ResNet", {"a": {**part, "shape": [16], "data_offsets": [0, 64]}}),
    )
    for label, parts in headers:
        yield label, safetensors_of(json.dumps(parts).encode())
    for label, header in (
        ("no JSON", b"{this is no JSON}"),
        ("a list", b"{]"),
        ("Python", b"{'a': 1}"),
        ("open", b'{"a": '),
        ("not UTF-8", b'{"\xff\xfe": 1}'),
        ("lone surrogate", b'{"\\ud800": {"dtype":"F32","shape":[16],"data_offsets":[0,64]}}'),
        ("deep", b'{"a":' * 100_000),
        ("deep list", b'{"a":' + b"[" * 100_000),
        ("long number", b'{"a": {"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,64]}}'),
        ("NaN", b'{"a": NaN}'),
        ("NUL", b'{"a\x00": 1}'),
        ("twice", b'{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},"a":{"dtype":"F32"}}'),
    ):
        yield label, safetensors_of(header)
    for label, said in HOSTILE_SAYINGS:
        whole = {"__metadata__": {"superinfo": said}}
        yield f"metadata {label}", with_header(kit.safetensors, whole)


HOSTILE_SAYINGS: tuple[tuple[str, str], ...] = (
    ("that is empty", ""),
    ("that is no JSON", "{"),
    ("that is a number", "1"),
    ("that is a list", "[]"),
    ("that is null", "null"),
    ("that is NaN", "NaN"),
    ("without fields", "{}"),
    ("with a foreign field", '{"evil\\nline": 1}'),
    ("with an escape in a field", '{"\\u001b[2Jevil": 1}'),
    ("deep as a well", "[" * 100_000),
    ("deep as a well of dictionaries", '{"a":' * 100_000),
    ("with a number of 5,000 digits", "9" * 5000),
    ("with a lone surrogate", '{"encoder": "\\ud800"}'),
    ("of another encoder", '{"encoder": {"arch": "vgg"}}'),
)


def random_bytes(kit: Kit) -> Iterator[File]:
    """With and without the first bytes of a format."""
    draw = random.Random(0)
    legacy = kit.legacy[: legacy_ends(kit.legacy)[2]]
    magics = {
        "nothing": b"",
        "zip": b"PK\x03\x04",
        "end of zip": b"PK\x05\x06",
        "pickle": b"\x80\x02",
        "framed pickle": b"\x80\x04\x95",
        "dictionary": b"\x80\x02}",
        "safetensors": struct.pack("<Q", 40) + b"{",
        "legacy": legacy,
        "PNG": b"\x89PNG\r\n\x1a\n",
    }
    for (label, magic), size in itertools.product(magics.items(), (1, 2, 3, 9, 30, 100, 1000, 1001, 5000, 60_000)):
        yield f"{size} random bytes after {label}", magic + draw.randbytes(size)


def payloads(mark: str) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Return functions that strangers' pickles call, each with arguments by which it would leave the file `mark`."""
    touch = f"touch {mark}"
    python = f"open({mark!r}, 'w').close()"
    inner = pickled(named("builtins", "eval") + literal((python,)) + b"R", 2)
    return [
        *((module, "system", (touch,)) for module in ("os", "posix", "nt")),
        ("os", "popen", (touch,)),
        ("os", "spawnlp", (0, "touch", "touch", mark)),
        ("os", "posix_spawn", ("/usr/bin/touch", ["touch", mark], {})),
        ("os", "mkdir", (mark,)),
        ("posix", "mkdir", (mark,)),
        ("os", "symlink", ("/etc/passwd", mark)),
        ("os", "putenv", ("SUPERINFO_WAS_RUN", "1")),
        ("os", "kill", (0, 0)),
        *(("subprocess", name, (["touch", mark],)) for name in ("Popen", "call", "run", "check_call", "check_output")),
        ("subprocess", "getoutput", (touch,)),
        ("_posixsubprocess", "fork_exec", (["touch", mark],)),
        ("commands", "getoutput", (touch,)),
        ("commands", "getstatusoutput", (touch,)),
        ("popen2", "popen3", (touch,)),
        *((module, "eval", (python,)) for module in ("builtins", "__builtin__")),
        *((module, "exec", (python,)) for module in ("builtins", "__builtin__")),
        *((module, "open", (mark, "w")) for module in ("builtins", "__builtin__", "io", "_io", "codecs")),
        ("__builtin__", "execfile", (mark,)),
        ("__builtin__", "file", (mark, "w")),
        ("__builtin__", "apply", (touch,)),
        ("builtins", "__import__", ("antigravity",)),
        ("builtins", "compile", (python, "x", "exec")),
        ("builtins", "setattr", ("x", "y", "z")),
        ("builtins", "delattr", ("x", "y")),
        ("builtins", "globals", ()),
        ("builtins", "breakpoint", ()),
        ("builtins", "input", ()),
        ("builtins", "print", ("x",)),
        ("builtins", "map", (python, [1])),
        ("builtins", "exit", (0,)),
        ("importlib", "import_module", ("antigravity",)),
        ("importlib", "__import__", ("antigravity",)),
        ("imp", "load_source", ("x", mark)),
        ("runpy", "run_path", (mark,)),
        ("runpy", "run_module", ("antigravity",)),
        ("webbrowser", "open", (f"file://{mark}",)),
        ("pty", "spawn", (["touch", mark],)),
        ("socket", "socket", ()),
        ("socket", "create_connection", (("127.0.0.1", 9),)),
        ("_socket", "socket", ()),
        ("ctypes", "CDLL", ("libc.so.6",)),
        ("_ctypes", "dlopen", ("libc.so.6", 2)),
        ("shutil", "rmtree", (mark,)),
        ("shutil", "copyfile", ("/etc/hostname", mark)),
        ("shutil", "move", ("/nothing", mark)),
        ("pathlib", "Path.touch", (mark,)),
        ("pickle", "loads", (inner,)),
        ("_pickle", "loads", (inner,)),
        ("cPickle", "loads", (inner,)),
        ("marshal", "loads", (inner,)),
        ("shelve", "open", (mark,)),
        ("dbm", "open", (mark, "c")),
        ("sqlite3", "connect", (mark,)),
        ("types", "CodeType", (0,)),
        ("types", "FunctionType", (0,)),
        ("operator", "attrgetter", ("system",)),
        ("operator", "methodcaller", ("system", touch)),
        ("functools", "reduce", (touch, [1])),
        ("itertools", "starmap", (touch, [1])),
        ("timeit", "timeit", (python,)),
        ("cProfile", "run", (python,)),
        ("profile", "run", (python,)),
        ("pdb", "run", (python,)),
        ("bdb", "Bdb", ()),
        ("code", "interact", ()),
        ("doctest", "run_docstring_examples", (python, {})),
        ("trace", "Trace", ()),
        ("pydoc", "pipepager", ("x", touch)),
        ("multiprocessing", "Process", ()),
        ("threading", "Thread", ()),
        ("atexit", "register", (touch,)),
        ("signal", "alarm", (1,)),
        ("sys", "exit", (0,)),
        ("sys", "setrecursionlimit", (10**9,)),
        ("gc", "disable", ()),
        ("logging", "FileHandler", (mark,)),
        ("logging.config", "listen", ()),
        ("tempfile", "mkstemp", ()),
        ("urllib.request", "urlopen", (f"file://{mark}",)),
        ("urllib2", "urlopen", (f"file://{mark}",)),
        ("http.server", "HTTPServer", (("", 0), None)),
        ("xmlrpc.client", "ServerProxy", ("http://127.0.0.1",)),
        ("zipimport", "zipimporter", (mark,)),
        ("site", "addsitedir", (mark,)),
        ("venv", "create", (mark,)),
        ("weakref", "finalize", (mark, touch)),
        ("torch", "load", (mark,)),
        ("torch.serialization", "load", (mark,)),
        ("torch", "save", ({}, mark)),
        ("torch.hub", "load", ("evil/repo", "model")),
        ("torch.hub", "load_state_dict_from_url", ("http://127.0.0.1/x",)),
        ("torch.hub", "download_url_to_file", ("http://127.0.0.1/x", mark)),
        ("torch.jit", "load", (mark,)),
        ("torch.jit._serialization", "load", (mark,)),
        ("torch.storage", "_load_from_bytes", (inner,)),
        ("torch.ops", "load_library", (mark,)),
        ("torch.utils.cpp_extension", "load_inline", ("x", python)),
        ("torch.distributed.rpc", "init_rpc", ("x",)),
        ("torch._inductor.codecache", "write", (python, "py")),
        ("torchvision.io", "write_file", (mark, None)),
        ("numpy", "load", (mark, None, True)),
        ("numpy", "save", (mark, 0)),
        ("numpy", "fromfile", (mark,)),
        ("numpy.f2py", "compile", (python,)),
        ("numpy.testing", "rundocs", (mark,)),
        ("numpy.testing._private.utils", "runstring", (python, {})),
        ("pip", "main", (["install", "x"],)),
        ("joblib", "load", (mark,)),
        ("dill", "loads", (inner,)),
        ("cloudpickle", "loads", (inner,)),
        ("yaml", "unsafe_load", (python,)),
        ("pandas", "read_pickle", (mark,)),
        ("sympy", "sympify", (python,)),
        ("cv2", "imwrite", (mark, 0)),
    ]


def calling_pickles(kit: Kit) -> Iterator[File]:
    """Calls alone, and beside or before a whole encoder, in each format."""
    for module, name, arguments in payloads(kit.sentinel):
        call = called(module, name, *arguments)
        stacked = stack_named(module, name) + literal(arguments) + b"R"
        label = f"{module}.{name}"
        yield f"{label} alone", pickled(call, 2)
        yield f"{label} in a pickle beside an encoder", beside(kit.pickle, stacked)
        places: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
            ("in a torch zip beside an encoder", lambda c: with_pickle(kit.zip, partial(beside, entry=c))),
            ("in a torch zip before an encoder", lambda c: with_pickle(kit.own, partial(before, entry=c))),
            ("in a legacy file beside one", lambda c: with_legacy_pickle(kit.legacy, partial(beside, entry=c))),
            ("in a legacy file before one", lambda c: with_legacy_pickle(kit.legacy, partial(before, entry=c))),
        )
        place, insert = places[len(label) % len(places)]
        yield f"{label} {place}", insert(call)


def writings(mark: str) -> Iterator[tuple[str, bytes]]:
    """Ways to write a call of `eval` or the like down, for a reader that looks for the usual one."""
    python = f"open({mark!r}, 'w').close()"
    argument, arguments = literal(python), literal((python,))
    evaluate, system = named("builtins", "eval"), named("os", "system")
    yield "REDUCE", evaluate + arguments + b"R"
    yield "STACK_GLOBAL", stack_named("builtins", "eval") + arguments + b"R"
    yield "NEWOBJ", named("subprocess", "Popen") + literal((["touch", mark],)) + b"\x81"
    yield "NEWOBJ of a function", named("torch", "load") + literal((mark,)) + b"\x81"
    yield "NEWOBJ_EX", named("subprocess", "Popen") + literal((["touch", mark],)) + b"}\x92"
    yield "NEWOBJ_EX of a function", named("numpy", "load") + literal((mark,)) + b"}\x92"
    yield "INST", b"(" + argument + b"ibuiltins\neval\n"
    yield "INST of a foreign class", b"(" + argument + b"itorch\nload\n"
    yield "OBJ", b"(" + evaluate + argument + b"o"
    yield "OBJ of a foreign class", b"(" + named("torch.hub", "Load") + argument + b"o"
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield f"EXT {code.hex()}", code + arguments + b"R"
    yield "BUILD of state", system + literal({"__setstate__": 1}) + b"b"
    yield "BUILD by __setstate__", system + b"}" + text("__setstate__") + evaluate + b"sb" + argument + b"b"
    yield "in a tuple in a list", b"](" + evaluate + arguments + b"Rta"
    yield "as a key", b"}" + evaluate + arguments + b"RNs"
    yield "in a set", b"\x8f(" + evaluate + arguments + b"R\x90"
    yield "in a frozenset", b"(" + evaluate + arguments + b"R\x91"
    yield "and thrown away", evaluate + arguments + b"R0N"
    yield "and popped to a mark", b"(" + evaluate + arguments + b"R1N"
    yield "through the memo", evaluate + b"\x940" + b"h\x00" + arguments + b"R"
    yield "doubled", evaluate + b"2" + arguments + b"R0" + arguments + b"R"
    yield "in a frame", b"\x95" + struct.pack("<Q", 4) + evaluate + arguments + b"R"
    yield "in two parts", text("builtins") + b"\x940" + text("eval") + b"\x940h\x00h\x01\x93" + arguments + b"R"
    yield "getattr of a module", named("builtins", "getattr") + b"(" + named("os", "path") + text("os") + b"tR"
    chain = named("builtins", "getattr") + b"(" + named("torch", "hub") + text("load") + b"tR"
    yield "what getattr returns", chain + arguments + b"R"
    yield (
        "what partial returns",
        named("functools", "partial") + b"(" + named("torch", "load") + b"tR" + arguments + b"R",
    )
    yield "partial of a function", named("functools", "partial") + b"(" + evaluate + b"tR"
    yield "what a stand-in returns", called("a.b", "Class") + arguments + b"R"
    yield "getattr of text", named("builtins", "getattr") + literal(("x", "__class__")) + b"R" + arguments + b"R"
    yield "by type", named("builtins", "type") + literal(("x", (), {})) + b"R" + b")\x81" + arguments + b"R"
    yield (
        "by _reconstructor",
        named("copyreg", "_reconstructor") + b"(" + evaluate + named("builtins", "object") + b"NtR",
    )
    yield "by __newobj__", named("copyreg", "__newobj__") + b"(" + evaluate + argument + b"tR"
    yield "by defaultdict", named("collections", "defaultdict") + b"(" + system + b"tR" + literal("touch") + b"Ns"
    rebuild = named("torch._tensor", "_rebuild_from_type_v2") + b"("
    yield "by _rebuild_from_type_v2", rebuild + named("torch", "load") + b"N" + arguments + b"NtR"
    yield "by a name in _rebuild_from_type_v2", rebuild + evaluate + b"N" + arguments + b"NtR"
    yield "by OrderedDict", named("collections", "OrderedDict") + b"(" + named("torch", "load") + b"tR"
    yield "by ndarray's state", named(NUMPY, "_reconstruct") + b")R" + evaluate + arguments + b"Rb"
    scalar = named(NUMPY, "scalar") + b"(" + dtype("O8", "|") + literal(b"x")
    yield "by an object scalar", scalar + b"tR"
    yield "by bytes of an object array", array(kind=dtype("O8", "|"))
    yield "by a storage", b"(" + text("storage") + evaluate + literal(("0", "cpu", 1))[1:-1] + b"tQ"
    yield "by a persistent id of text", b"Pos.system\n"
    yield "by a persistent id of a call", evaluate + arguments + b"RQ"
    for module in ("os.path", "os", "posix", "builtins", "__builtin__", "subprocess", "importlib._bootstrap"):
        yield f"{module}.__dict__", stack_named(module, "__dict__.system")
    for module in (
        "",
        " os",
        "os ",
        "os\x00",
        "os\n",
        "\u006f\u017f",
        "\uff4f\uff53",
        "OS",
        ".os",
        "/bin/sh",
        "\ud800",
    ):
        yield f"module {module!r}", stack_named(module, "system") + arguments + b"R"
    for name in ("", "system.__call__", "__class__.__base__", "sys.modules", "e\u0076al\u200b", "eval\n"):
        yield f"name {name!r}", stack_named("torch", name) + arguments + b"R"
    yield "numbers for a name", b"K\x01K\x02\x93"
    yield "bytes for a name", b"C\x02osC\x06system\x93" + arguments + b"R"
    yield "list for arguments", evaluate + b"](" + argument + b"eR"
    yield "text for a function", text("os.system") + arguments + b"R"


def written_pickles(kit: Kit) -> Iterator[File]:
    for label, call in writings(kit.sentinel):
        yield f"{label}, alone", pickled(call)
        yield f"{label}, in a torch zip beside an encoder", with_pickle(kit.zip, partial(beside, entry=call))
        yield f"{label}, before an encoder", before(kit.pickle2, call)


def bombs(kit: Kit) -> Iterator[File]:
    """Small files that claim much, or of which a careless reader makes much."""
    for label, body in (
        ("memo at 4 billion", b"Nr\xff\xff\xff\xff"),
        ("memo at a number of 4,000 digits", b"Np" + b"9" * 4000 + b"\n"),
        ("memo that is empty", b"j\xff\xff\xff\xff"),
        ("memo below zero", b"g-1\n"),
        ("200,000 DUPs", b"N" + b"2" * 200_000),
        ("200,000 marks", b"(" * 200_000),
        ("100,000 empty lists", b"(" + b"]" * 100_000 + b"l"),
        ("POP of nothing", b"0"),
        ("TUPLE3 of nothing", b"\x87"),
        ("no mark", b"Nt"),
        ("a mark for an object", b"("),
        ("a mark in a tuple", b"(\x85R"),
        ("100,000 lists in lists", b"]" * 100_000 + b"a" * 99_999),
        ("20,000 tuples in tuples", b")" + b"\x85" * 20_000),
        ("20,000 dictionaries", b"}" + (text("a") + b"}") * 20_000 + b"s" * 20_000),
        ("10,000 stand-ins", named("a", "B") + b"q\x000" + b"h\x00" * 10_000 + b")" + b"R\x85" * 10_000),
        ("a list of itself", b"]q\x00h\x00a"),
        ("a dictionary of itself", b"}q\x00" + text("a") + b"h\x00s"),
        ("a tuple of a list of itself", b"]q\x00h\x00\x85a"),
        ("a stand-in of itself", called("a", "B") + b"q\x00h\x00b"),
        ("LONG4 of 2 GB", b"\x8b\xff\xff\xff\x7f"),
        ("LONG4 of -1 bytes", b"\x8b\xff\xff\xff\xff"),
        ("LONG of 4,000 digits", b"L" + b"9" * 4000 + b"L\n"),
        ("INT of 4,090 digits", b"I" + b"9" * 4090 + b"\n"),
        ("a line without end", b"I" + b"9" * 100_000),
        ("BINBYTES8 of 2**63 bytes", b"\x8e" + struct.pack("<Q", 2**63)),
        ("BYTEARRAY8 of 2**40 bytes", b"\x96" + struct.pack("<Q", 2**40)),
        ("BINUNICODE8 of 2**64 bytes", b"\x8d" + struct.pack("<Q", 2**64 - 1)),
        ("BINBYTES of 4 GB", b"B\xff\xff\xff\xff"),
        ("BINSTRING of -1 bytes", b"T\xff\xff\xff\xff"),
        ("FRAME of 2**64 bytes", b"\x95" + b"\xff" * 8 + b"N"),
        ("a key of a key of a key", b"}" + b")" + b"2\x86q\x00h\x00" * 60 + b"Ns"),
        ("a key of nested tuples", nested_tuples(64) + b"q\x000}h\x00Ns"),
        ("a list for a key", b"}]Ns"),
        ("a dictionary for a key", b"}}Ns"),
        ("a stand-in for a key", b"}" + called("a", "B") + b"Ns"),
        ("items of a number", b"K\x01NNs"),
        ("appended to a number", b"K\x01Na"),
        ("appended to a tuple", b")Na"),
        ("OrderedDict of a number", called("collections", "OrderedDict", 5)),
        ("set of a number", called("builtins", "set", 5)),
        ("Size of a number", called("torch", "Size", 5)),
        ("bytearray of 2**40 bytes", called("builtins", "bytearray", 2**40) + b"N\x86"),
        ("range of 2**40", called("builtins", "range", 2**40) + b"N\x86"),
        ("an encoding that is none", called("_codecs", "encode", "x", "nothing")),
        ("an encoding that packs", called("_codecs", "encode", "x", "bz2_codec")),
        ("an encoding with a path", called("_codecs", "encode", "x", "../../evil")),
        ("an encoding of NUL", called("_codecs", "encode", "x", "\x00")),
        ("a float that is none", b"Fevil\n"),
        ("an escape that ends", b"S'\\x'\n"),
        ("a quote that ends", b"S'evil\n"),
    ):
        yield label, pickled(body)
        yield f"{label}, in a torch zip", torch_zip(body)


def nested_lists(depth: int) -> bytes:
    """Return a list of two lists, which are one, and so on: few bytes whose text has more than 2**depth."""
    return b"]" + b"q\x010](h\x01h\x01e" * depth


def nested_tuples(depth: int) -> bytes:
    return b")" + b"2\x86" * depth


def amplifiers(kit: Kit) -> Iterator[File]:
    """Small files in which one big thing is named again and again, or one thing that is big when it is spelt out."""
    bomb = nested_lists(26)  # 300 MB of text: enough to be seen, and no more than the machine bears
    info = literal({"encoder": {"arch": "resnet18"}}) + text("evil") + nested_lists(17) + b"s"
    yield "information that never ends", torch_zip(mapping({"superinfo": info, "state_dict": mapping({"x": tensor()})}))
    rebuilt = named("torch._utils", "_rebuild_tensor_v3") + b"(" + storage()
    yield "a dtype whose text never ends", pickled(named("numpy", "dtype") + bomb + b"\x85R")
    yield "an encoding whose text never ends", pickled(named("_codecs", "encode") + text("x") + bomb + b"\x86R")
    yield (
        "a tensor's dtype whose text never ends",
        torch_zip(mapping({"x": rebuilt + literal(0) + literal((4,)) + literal((1,)) + b"\x89N" + bomb + b"tR"})),
    )
    yield "an author whose text never ends", torch_zip(mapping({"x": tensor(), "__author__": bomb}))
    yield "an author of 5,000 digits", torch_zip(mapping({"x": tensor(), "__author__": long(10**5000)}))
    yield "an author that is deep", torch_zip(mapping({"x": tensor(), "__author__": b"]" * 9999 + b"a" * 9998}))
    key = b"B" + struct.pack("<I", 500_000) + bytes(500_000) + b"q\x000"
    yield "bytes of 0.5 MB as the key of 50,000 dictionaries", pickled(key + b"(" + b"}h\x00Ns" * 50_000 + b"l")
    number = long(1 << 8_000_000) + b"q\x000"
    yield "a number of 1 MB as the key of 100,000 dictionaries", pickled(number + b"(" + b"}h\x00Ns" * 100_000 + b"l")
    many = b"(" + b"N" * 300_000 + b"tq\x000"
    yield "a tuple of 300,000 as the key of 50,000 dictionaries", pickled(many + b"(" + b"}h\x00Ns" * 50_000 + b"l")
    for module, name in (("builtins", "set"), ("builtins", "frozenset"), ("torch", "Size")):
        items = b"](" + b"N" * 300_000 + b"e\x85q\x000" + named(module, name) + b"q\x010"
        yield f"50,000 copies by {name} of a list of 300,000", pickled(items + b"(" + b"h\x01h\x00R" * 50_000 + b"l")
    words = text("x" * 500_000) + b"\x85q\x000" + named("_codecs", "encode") + b"q\x010"
    yield "50,000 copies by encode of a text of 0.5 MB", pickled(words + b"(" + b"h\x01h\x00R" * 50_000 + b"l")
    state = b"(K\x01" + literal((500_000,)) + dtype("u1", "|") + b"\x89" + text("x" * 500_000) + b"tq\x000"
    empty = named(NUMPY, "_reconstruct") + b"q\x010"
    yield "5,000 arrays of a text of 0.5 MB", pickled(state + empty + b"(" + b"h\x01)Rh\x00b" * 5000 + b"l")
    shape = b"(" + b"K\x01" * 200_000 + b"t"
    empty = named(NUMPY, "_reconstruct") + b")R(K\x01" + shape + dtype() + b"\x89" + literal(bytearray(4)) + b"tb"
    yield "an array of 200,000 dimensions", pickled(empty)
    huge = b"(" + b"K\x00" + (long(1 << 2_000_000) + b"q\x00" + b"h\x00" * 14) + b"t"
    sizes = huge + b"q\x020"
    one = named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage() + b"K\x00h\x02h\x02\x89NtR"
    yield "500 tensors with dimensions of 250 kB", torch_zip(sizes + b"(" + one * 500 + b"l")
    long_name = text("n" * 500_000) + b"q\x000"
    inner = b"}h\x00}" + text("w") + tensor() + b"q\x01s" + b"s"
    others = b"".join(text(str(n)) + b"}h\x00}" + text("w") + b"h\x01sss" for n in range(20_000))
    yield "a name of 0.5 MB in 20,000 paths", torch_zip(long_name + b"}" + text("a") + inner + b"s" + others)


def strange_zips(kit: Kit) -> Iterator[File]:
    good = list(records_of(kit.zip).items())
    root = good[0][0].partition("/")[0]
    for path in (
        "/etc/passwd",
        "/data.pkl",
        "../evil",
        "../../../../tmp/evil",
        f"{root}/../../evil",
        f"{root}/data/../../../evil",
        "..\\evil",
        f"{root}\\..\\..\\evil",
        "C:\\Windows\\evil",
        "C:/evil",
        "c:evil",
        "\\\\server\\share\\evil",
        "\\evil",
        "//server/evil",
        "..",
        "",
        "/",
        "../\x1b[2Jevil",
        "../evil\nline",
        "/" + "a" * 3000,
    ):
        yield f"path {path[:40]!r}", zip_of([*good, (path, b"evil")])
        yield f"path {path[:40]!r} alone", zip_of([(path, b"evil"), *good[:3]])
    other = pickled(b"}", 2)
    data_pkl = f"{root}/data.pkl"
    yield "data.pkl twice", zip_of([(data_pkl, other), *good])
    yield "data.pkl twice, the other way", zip_of([*good, (data_pkl, other)])
    evil = pickled(called("os", "system", f"touch {kit.sentinel}"), 2)
    yield "data.pkl twice, the first one evil", zip_of([(data_pkl, evil), *good])
    yield "a storage twice", zip_of([(f"{root}/data/0", bytes(len(dict(good)[f"{root}/data/0"]))), *good])
    yield "data.pkl in two folders", zip_of([*good, ("other/data.pkl", other)])
    yield "data.pkl in a folder and outside", zip_of([*good, ("data.pkl", other)])
    yield "no data.pkl", zip_of([(name, data) for name, data in good if name != data_pkl])
    yield "data.pkl too deep", zip_of([(f"a/b/{name}", data) for name, data in good])
    yield "data.pkl of another name", zip_of([(name.replace("data.pkl", "data.pk"), data) for name, data in good])
    yield "data.pkl that is empty", zip_of([(name, b"" if name == data_pkl else data) for name, data in good])
    yield "data.pkl of text", zip_of([(name, b"evil" if name == data_pkl else data) for name, data in good])
    yield "TorchScript", zip_of([*good, (f"{root}/constants.pkl", other)])
    yield "TorchScript's code", zip_of([*good, (f"{root}/code/__torch__/evil.py", b"import os")])
    yield "big-endian", zip_of([(name, b"big" if name.endswith("byteorder") else data) for name, data in good])
    yield "byte order unknown", zip_of([(name, b"pdp" if name.endswith("byteorder") else data) for name, data in good])
    yield "empty", zip_of([])
    yield "one text", zip_of([("readme.txt", b"hello")])
    yield "a wheel", zip_of([("x/__init__.py", b""), ("x.dist-info/RECORD", b"")])
    yield "a checkpoint in a zip", zip_of([("checkpoint.pth", kit.zip)])
    yield "NumPy's", npz(weight=np.zeros((4, 4)))
    for label, method in (("deflated", zipfile.ZIP_DEFLATED), ("bzip2", zipfile.ZIP_BZIP2), ("LZMA", zipfile.ZIP_LZMA)):
        yield label, zip_of(good, method)
        bomb = [(name, bytes(5_000_000) if name.endswith("/0") else data[:99]) for name, data in good[:5]]
        yield f"{label} bomb", zip_of(bomb, method)
    plain = zip_of(good)
    end = plain.rindex(b"PK\x05\x06")
    disk, _, here, count, size, place, comment = struct.unpack_from("<HHHHIIH", plain, end + 4)
    start = plain.index(b"PK\x01\x02")
    for label, fields in (
        ("directory of no bytes", (disk, 0, here, count, 0, place, comment)),
        ("directory a byte short", (disk, 0, here, count, size - 1, place, comment)),
        ("directory of 4 GB", (disk, 0, here, count, 2**32 - 2, place, comment)),
        ("directory elsewhere", (disk, 0, here, count, size, place - 1, comment)),
        ("directory after", (disk, 0, here, count, size, place + 1, comment)),
        ("directory at the end", (disk, 0, here, count, size, 2**32 - 2, comment)),
        ("directory at the start", (disk, 0, here, count, size, 0, comment)),
        ("comment of 65,535 bytes cut off", (disk, 0, here, count, size, place + 1, 2**16 - 1)),
    ):
        yield label, plain[: end + 4] + struct.pack("<HHHHIIH", *fields)
    record64 = kit.zip.rindex(b"PK\x06\x06")
    for (field, at), step in itertools.product((("size", 40), ("place", 48)), (-1, 1, 46, 2**40)):
        value = struct.unpack_from("<Q", kit.zip, record64 + at)[0] + step
        yield f"torch's zip64: {field} {step:+}", patched(kit.zip, record64 + at, struct.pack("<Q", value))
    body, directory = plain[:start], plain[start : start + size]
    for label, numbers in (
        ("directory of 2**63 bytes", (count, count, 2**63, start)),
        ("directory at 2**63", (count, count, size, 2**63)),
        ("2**63 records", (2**63, 2**63, size + 46, start)),
        ("directory of no bytes", (count, count, 0, start)),
    ):
        record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, *numbers)
        locator = b"PK\x06\x07" + struct.pack("<IQI", 0, start + size, 1)
        last = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, 0)
        yield f"zip64: {label}", body + directory + record + locator + last
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 2**63, 1)
    yield "zip64: nowhere", body + directory + locator + plain[end:]
    yield "zip64: on many disks", body + directory + b"PK\x06\x07" + struct.pack("<IQI", 3, 0, 9) + plain[end:]


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


ABSURD: tuple[Any, ...] = (
    -1,
    -(2**63),
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    1 << 40_000,
    1.0,
    True,
    None,
    "4",
    (),
    b"",
)


def absurd_tensors(kit: Kit) -> Iterator[File]:
    """Shapes, strides, offsets, types and storages that no tensor has, in each format."""
    sayings: list[tuple[str, bytes]] = []
    for number in ABSURD:
        shown = repr(number)[:20] if not isinstance(number, int) else f"{number.bit_length()} bits, {number < 0}"
        sayings += [
            (f"offset {shown}", tensor(number)),
            (f"rows {shown}", tensor(0, (number, 4))),
            (f"columns {shown}", tensor(0, (4, number))),
            (f"stride {shown}", tensor(0, (4, 4), (4, number))),
            (f"first stride {shown}", tensor(0, (4, 4), (number, 1))),
            (f"elements {shown}", tensor(stored=storage(count=number))),
        ]
        if type(number) is int:
            sayings += [(f"nothing times {shown}", tensor(0, (0, abs(number) + 2**63), (1, 1)))]
    sayings += [
        ("size a number", tensor(0, 4)),
        ("size text", tensor(0, "44")),
        ("size a dictionary", tensor(0, {})),
        ("size nested", tensor(0, ((4, 4),), (4, 1))),
        ("too few strides", tensor(0, (4, 4), (4,))),
        ("no strides", tensor(0, (4, 4), ())),
        ("17 dimensions", tensor(0, (1,) * 17, (1,) * 17)),
        ("50,000 dimensions", tensor(0, (1,) * 50_000, (1,) * 50_000)),
        ("one past the end", tensor(1)),
        ("a row too many", tensor(0, (5, 4))),
        ("steps of zero", tensor(0, (1000, 1000), (0, 0))),
        ("overflowing", tensor(0, (2**32, 2**32), (2**32, 1))),
        ("overflowing to fit", tensor(0, (2**62, 4), (4, 2**62))),
        ("no storage", tensor(stored=b"N")),
        ("a list for a storage", tensor(stored=b"]")),
        ("a tensor for a storage", tensor(stored=tensor())),
        ("a storage that is not there", tensor(stored=storage(key="7"))),
        ("a storage of a path", tensor(stored=storage(key="../../etc/passwd"))),
        ("a storage of lines", tensor(stored=storage(key="7\nsuperinfo: all well"))),
        ("a storage of escapes", tensor(stored=storage(key="\x1b[2J7"))),
        ("a storage of surrogates", tensor(stored=storage(key="\ud800"))),
        ("a storage of a number", tensor(stored=storage(key=7))),
        ("a storage of too few", tensor(stored=storage(count=15))),
        ("a storage of too many", tensor(stored=storage(count=17))),
        ("a storage of doubles", tensor(stored=storage("DoubleStorage"))),
        ("a storage of halves", tensor(stored=storage("HalfStorage"))),
        ("a storage of complex numbers", tensor(stored=storage("ComplexFloatStorage"))),
        ("a storage of quantised numbers", tensor(stored=storage("QInt8Storage"))),
        ("a storage of no type", tensor(stored=storage("Tensor"))),
        ("a storage of lines for a type", tensor(stored=storage().replace(b"torch\nFloat", b"a\nX\rFloat"))),
        ("no reference", tensor(stored=text("storage") + b"Q")),
        ("an empty reference", tensor(stored=b")Q")),
        ("a module for a storage", tensor(stored=storage().replace(text("storage"), text("module")))),
        ("a reference too long", tensor(stored=storage(view=b"NNN"))),
        ("too few arguments", named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage() + b"tR"),
        ("too many arguments", named("torch._utils", "_rebuild_tensor") + b"(" + storage() * 9 + b"tR"),
        ("quantised", called("torch._utils", "_rebuild_qtensor", 1)),
        ("sparse", called("torch._utils", "_rebuild_sparse_tensor", 1)),
        ("on meta", called("torch._utils", "_rebuild_meta_tensor_no_storage", 1)),
        ("nested", called("torch._utils", "_rebuild_nested_tensor", 1)),
        ("of NumPy on the way", called("torch._utils", "_rebuild_device_tensor_from_numpy", 1)),
    ]
    for label, body in sayings:
        yield f"{label}, in a torch zip", torch_zip(mapping({"layer1.0.conv1.weight": body}))
    for label, body in sayings[::3]:
        if "halves" in label:
            continue  # of which there are enough
        yield f"{label}, in a legacy file", torch_legacy(mapping({"layer1.0.conv1.weight": body}))
    whole = mapping({"layer1.0.conv1.weight": tensor()})
    for label, keys, storages in (
        ("another storage", ("1",), struct.pack("<q", 16) + bytes(64)),
        ("a storage twice", ("0", "0"), (struct.pack("<q", 16) + bytes(64)) * 2),
        ("no storage", (), b""),
        ("a storage cut", ("0",), struct.pack("<q", 16) + bytes(63)),
        ("a storage of other size", ("0",), struct.pack("<q", 15) + bytes(64)),
        ("a storage of negative size", ("0",), struct.pack("<q", -1) + bytes(64)),
        ("a storage that is a number", (0,), struct.pack("<q", 16) + bytes(64)),
        ("a storage of lines", ("0\nevil",), struct.pack("<q", 16) + bytes(64)),
    ):
        yield f"legacy: {label}", torch_legacy(whole, keys, storages)
    much = mapping({"x": tensor(0, (1 << 20_000,), (1,), storage().replace(literal(16), long(1 << 20_001)))})
    yield "legacy: a storage of 2**20,000 elements", torch_legacy(much)
    view = b"(" + text("view") + literal((0, 16))[1:-1] + b"t"
    yield "legacy: a view", torch_legacy(mapping({"x": tensor(stored=storage(view=view))}))
    for label, body in (
        *((f"rows of {str(number)[:20]}", array((number,))) for number in ABSURD[:7] + ABSURD[8:]),
        ("no shape", array(None)),
        ("a list for a shape", array([4])),
        ("nothing times 2**80", array((0, 2**80), b"")),
        ("17 dimensions", array((1,) * 17, bytes(4))),
        ("too short", array((5,))),
        ("too long", array((3,))),
        ("doubles", array((4,), kind=dtype("f8"))),
        ("big-endian", array(kind=dtype("f4", ">"))),
        ("complex", array((2,), kind=dtype("c8"))),
        ("objects", array(kind=dtype("O8", "|"))),
        ("text", array(kind=dtype("U4"))),
        ("void", array(kind=dtype("V16"))),
        ("lines", array(kind=dtype("f4\nevil"))),
        ("no dtype", array(kind=b"N")),
        ("a name for a dtype", array(kind=named("numpy", "float32"))),
        ("no state", named(NUMPY, "_reconstruct") + b")RNb"),
        ("half a state", named(NUMPY, "_reconstruct") + b")R(K\x01tb"),
        ("a scalar too long", named(NUMPY, "scalar") + b"(" + dtype() + literal(bytearray(5)) + b"tR"),
        (
            "a frozen buffer too short",
            named("numpy._core.numeric", "_frombuffer") + b"(C\x01b" + dtype() + b"K\x04\x85tR",
        ),
    ):
        yield f"array: {label}", pickled(mapping({"layer1.0.conv1.weight": body}))


def own_claims(kit: Kit) -> Iterator[File]:
    """Files that say that this project wrote them, and what else they say."""
    info = {"format": "superinfo.checkpoint/1", "encoder": {"arch": "resnet18", "width": 0.125}, **INFO}
    state = b"}" + text("conv1.weight") + tensor() + b"s"

    def claim(said: bytes, key: str = "state_dict") -> bytes:
        return torch_zip(mapping({"superinfo": said, key: state}))

    wrong: list[tuple[str, Any]] = [
        ("arch", "vgg16"),
        ("arch", "resnet18\nevil"),
        ("arch", 18),
        ("arch", None),
        ("width", 1e9),
        ("width", -1.0),
        ("width", 0.0),
        ("width", float("nan")),
        ("width", float("inf")),
        ("width", 0.13),
        ("width", "1"),
        ("stem", "none"),
        ("stem", "\x1b[2J"),
        ("evil\nfield", 1),
        ("x" * 5000, 1),
    ]
    for field, value in wrong:
        yield f"{field[:20]} {value!r}", claim(literal({**info, "encoder": {"arch": "resnet18", field: value}}))
    for field in ("name", "seed", "epochs", "mean"):
        yield f"no {field}", claim(literal({key: value for key, value in info.items() if key != field}))
        yield f"{field} is a list", claim(literal({**info, field: ["evil"]}))
    yield "seed of 10,000 digits", claim(literal(info) + text("seed") + long(10**10_000) + b"s")
    yield "a mean of 2**2000", claim(literal({**info, "mean": (2**2000, 0.0, 0.0)}))
    start = literal(info)
    for label, value in (
        ("of itself", b"q\x00" + text("evil") + b"h\x00s"),
        ("of a stand-in", text("evil") + called("a", "B") + b"s"),
        ("of a class", text("evil") + named("a", "B") + b"s"),
        ("of bytes", text("evil") + b"C\x01xs"),
        ("of a tensor", text("evil") + tensor() + b"s"),
        ("of a key of tuples", b"K\x01\x85" + b"Ns"),
        ("of a key of bytes", b"C\x01x" + b"Ns"),
        ("of surrogates", text("evil") + text("\ud800") + b"s"),
        ("that is deep", text("evil") + b"]" * 9999 + b"a" * 9998 + b"s"),
    ):
        yield f"information {label}", claim(start + value)
        yield f"converted, information {label}", claim(literal({"pixels": 1}) + value, "model")
    yield "nothing of what there must be", claim(literal({"encoder": {}}))
    yield "a converted file's, of nothing", claim(literal({"pixels": {}}), "model")


def messages(kit: Kit) -> Iterator[File]:
    """Files that put words into the message, or much of it."""
    for label, name in (
        ("lines", "a\nsuperinfo: converted, all is well"),
        ("returns", "a\rsuperinfo: converted, all is well"),
        ("escapes", "\x1b[2J\x1b[31mall is well"),
        ("bells", "\x07" * 10),
        ("NUL", "a\x00b"),
        ("separators of lines", "a\u2028b\u2029c\x85d\x0be"),
        ("text from right to left", "\u202eevil\u202d"),
        ("surrogates", "\ud800\udfff"),
        ("100,000 characters", "x" * 100_000),
        ("an error's name", "UserError: all is well"),
        ("braces", "{0}{path!r}%s%n"),
        ("markup", "[bold red]evil[/]"),
    ):
        yield f"names of {label}", torch_zip(mapping({name: tensor(), "b" + name: tensor()}))
        yield f"a ResNet below a prefix of {label}", torch_zip(mapping({name + ".layer1.0.conv1.weight": tensor()}))
        yield f"a class of {label}", pickled(stack_named("os", name) + b")R")
        yield f"a function of {label}", pickled(stack_named("a", "z" + name) + b")R")
        yield f"storages of {label}", torch_zip(mapping({"x": tensor(stored=storage(key=name))}))
        yield f"legacy storages of {label}", torch_legacy(mapping({"x": tensor()}), (name,))
        yield (
            f"types of {label}",
            torch_zip(
                mapping(
                    {"x": tensor(stored=storage().replace(named("torch", "FloatStorage"), stack_named("torch", name)))}
                )
            ),
        )
        yield f"arrays of {label}", pickled(mapping({"x": array(kind=dtype("z" + name))}))


def no_resnets(kit: Kit) -> Iterator[File]:
    """Good checkpoints of other networks; their names are what matters, so that their tensors are small."""
    for arch in (
        "alexnet",
        "vgg11",
        "squeezenet1_0",
        "densenet121",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
        "mnasnet0_5",
        "efficientnet_b0",
        "vit_b_16",
        "swin_t",
        "convnext_tiny",
    ):
        with torch.device("meta"):
            model = getattr(torchvision.models, arch)()
        state = {key: torch.zeros([min(side, 2) for side in part.shape]) for key, part in model.state_dict().items()}
        yield arch, saved(state)
        yield f"{arch} of Lightning", saved({"state_dict": state, "pytorch-lightning_version": "2.0"}, zipped=False)
        yield f"{arch} of safetensors", safetensors.torch.save(state)
    small = torch.zeros(2, 2)
    for label, content in (
        ("CLIP's ResNet", {"visual.layer1.0.conv1.weight": small, "visual.attnpool.q_proj.weight": small}),
        ("a vision transformer of DINO", {"teacher": {"cls_token": small, "patch_embed.proj.weight": small}}),
        ("a linear model", {"weight": small, "bias": small}),
        ("an LSTM", torch.nn.LSTM(2, 2).state_dict()),
        ("one tensor", small),
        ("a list of tensors", [small, small]),
        ("a number", 3),
        ("text", "weights"),
        ("nothing", None),
        ("an empty dictionary", {}),
        ("an optimiser", torch.optim.SGD([small], lr=1.0).state_dict()),
        ("tensors by number", {0: small, 1: small}),
        ("a dictionary of numbers", {"epoch": 3, "loss": 0.5}),
    ):
        yield label, saved(content)
        yield f"{label}, legacy", saved(content, zipped=False)
    arrays = {"weight": np.zeros((2, 2), np.float32)}
    for protocol in range(6):
        yield f"arrays, protocol {protocol}", pickle.dumps(arrays, protocol=protocol)
        yield f"a list, protocol {protocol}", pickle.dumps(list(arrays), protocol=protocol)


def other_files(kit: Kit) -> Iterator[File]:
    yield "empty", b""
    jpeg, tar = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (32, 32)).save(jpeg, "JPEG")
    yield "JPEG", jpeg.getvalue()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("checkpoint.pth")
        entry.size = len(kit.zip)
        archive.addfile(entry, io.BytesIO(kit.zip))
    yield "tar", tar.getvalue()
    yield "gzip", gzip.compress(kit.pickle, 1, mtime=0)
    npy = io.BytesIO()
    np.save(npy, np.zeros(4))
    yield "npy", npy.getvalue()
    for label, words in (
        ("text", "Weights and biases.\n" * 20),
        ("JSON", '{"conv1.weight": [[1, 2], [3, 4]]}'),
        ("a list in JSON", "[1, 2, 3]"),
        ("YAML", "conv1.weight: !!python/object/apply:os.system ['true']\n"),
        ("HTML", "<!DOCTYPE html><html><title>404</title></html>"),
        ("a pointer of git-lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n"),
        ("a script", f"#!/bin/sh\ntouch {kit.sentinel}\n"),
        ("Python", f"open({kit.sentinel!r}, 'w')\n"),
        ("CSV", "epoch,loss\n1,2\n"),
        ("a full stop", "."),
        ("full stops", "...."),
        ("new lines", "\n" * 100),
        ("spaces", " " * 100),
    ):
        yield label, words.encode()
    for label, data in (
        ("HDF5", b"\x89HDF\r\n\x1a\n"),
        ("ELF", b"\x7fELF\x02\x01\x01"),
        ("PDF", b"%PDF-1.7\n"),
        ("PNG", b"\x89PNG\r\n\x1a\n"),
        ("7z", b"7z\xbc\xaf\x27\x1c"),
        ("RAR", b"Rar!\x1a\x07\x00"),
        ("xz", b"\xfd7zXZ\x00"),
        ("Zstandard", b"\x28\xb5\x2f\xfd"),
        ("GGUF", b"GGUF\x03\x00\x00\x00"),
        ("ONNX", b"\x08\x07\x12\x07pytorch"),
        ("TensorFlow", b"\x0a\x00\x12"),
    ):
        yield label, data + bytes(range(256)) * 4
    yield "zeros", bytes(100_000)
    yield "ones", b"\xff" * 100_000


Family = Callable[[Kit], Iterable[File]]
FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        cut_zips,
        holed_zips,
        cut_legacy,
        cut_pickles,
        cut_safetensors,
        corrupt_zips,
        flipped_zips,
        corrupt_pickles,
        corrupt_legacy,
        corrupt_safetensors,
        lying_safetensors,
        random_bytes,
        calling_pickles,
        written_pickles,
        bombs,
        amplifiers,
        strange_zips,
        absurd_tensors,
        own_claims,
        messages,
        no_resnets,
        other_files,
    )
}


# What is seen while a file is read.


class Hung(BaseException):  # no Exception, so that no reader takes it for one of its own
    """The file took too long."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hung

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


@contextmanager
def memory_bounded(mib: int) -> Iterator[None]:
    """Keep a bomb that goes off from taking the machine with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + mib * 2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class Watch:
    """Hears from Python itself what a reader does: the interpreter calls it for whatever could harm."""

    harmful = (
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.spawn",
        "os.putenv",
        "os.kill",
        "os.mkdir",
        "os.symlink",
        "os.remove",
        "os.rename",
        "subprocess.Popen",
        "pty.spawn",
        "exec",
        "compile",
        "import",
        "pickle.find_class",
        "marshal.loads",
        "ctypes.",
        "socket.",
        "shutil.",
        "urllib.",
        "webbrowser.",
        "sqlite3.",
        "tempfile.",
        "code.__new__",
        "builtins.input",
        "builtins.breakpoint",
        "signal.pthread_kill",
        "sys.setprofile",
        "sys.settrace",
    )

    def __init__(self) -> None:
        self.active, self.heard = False, list[str]()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event.startswith(self.harmful):
            self.heard.append(f"{event} {arguments[0] if arguments else ''}"[:80])

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        self.heard, self.active = [], True
        try:
            yield self.heard
        finally:
            self.active = False


@functools.cache
def watch() -> Watch:
    """Return the only one: a hook cannot be taken back."""
    return Watch()


def complaint(path: Path, folder: Path) -> str | None:
    """Convert a file, and say what of its refusal is wrong, if anything."""
    there = sorted(folder.rglob("*"))
    with watch().listening() as heard:
        told = _refusal(path, folder / "out")
    if left := sorted(set(folder.rglob("*")) - set(there)):
        shutil.rmtree(folder / "out", ignore_errors=True)
        return f"{told}, and leaves {[file.name for file in left]}"
    return f"{told}, and does {heard[:3]}" if heard else told


def _refusal(path: Path, out: Path) -> str | None:
    try:
        with within(HANGS_AFTER):
            convert(path, out)
    except UserError as error:
        return _wording(str(error), path) if error.exit_code == 2 else f"exits with {error.exit_code}"
    except SuperInfoError as error:
        return f"exits with {error.exit_code}: {str(error)[:200]!r}"
    except Hung:
        return f"takes more than {HANGS_AFTER} s"
    except Exception as error:
        return f"ends in a traceback: {type(error).__name__}: {str(error)[:100]!r}"
    return "is accepted"


def _wording(message: str, path: Path) -> str | None:
    if not message.startswith(f"{path}: ") or message.count(str(path)) != 1:
        return f"does not name the file: {message[:200]!r}"
    if not message.isprintable():
        return f"is not one printable line: {message[:200]!r}"
    length = len(message) - len(str(path))
    return f"is told in {length} characters: {message[:200]}" if length > LONGEST_LINE else None


@pytest.fixture
def warm(kit: Kit, tmp_path: Path) -> Path:
    """Have all that reading good files imports imported, so that whatever is imported later is the hostile file's."""
    for name, data in (("zip", kit.zip), ("legacy", kit.legacy), ("pkl", kit.pickle), ("st", kit.safetensors)):
        path = tmp_path / f"good.{name}"
        path.write_bytes(data)
        load_reading(path, read_encoder(path))
        path.unlink()
    for encoding in ("latin-1", "cp437", "ascii", "raw_unicode_escape", "unicode_escape"):
        codecs.lookup(encoding)
    return tmp_path


def test_what_hostile_files_are_made_of_is_good(kit: Kit, tmp_path: Path) -> None:
    """So that each is refused for what is wrong with it, and nothing else."""
    harmless = called("builtins", "int", "3")
    for number, data in enumerate(
        (
            kit.zip,
            kit.own,
            kit.legacy,
            kit.pickle,
            kit.pickle2,
            kit.safetensors,
            zip_of(list(records_of(kit.zip).items())),
            with_pickle(kit.zip, partial(beside, entry=harmless)),
            with_pickle(kit.own, partial(before, entry=harmless)),
            with_legacy_pickle(kit.legacy, partial(beside, entry=harmless)),
            beside(kit.pickle, harmless),
            before(kit.pickle2, harmless),
            with_header(kit.safetensors, {}),
        )
    ):
        path = tmp_path / f"good{number}"
        path.write_bytes(data)
        encoder = load_reading(path, read_encoder(path))
        assert encoder.state_dict()["layer4.1.conv2.weight"].shape == (64, 64, 3, 3)


@pytest.mark.parametrize("function", ["os.system", "subprocess.run", "builtins.eval", "builtins.open", "os.mkdir"])
def test_the_payloads_go_off_in_pythons_own_unpickler(tmp_path: Path, function: str) -> None:
    """So that a file that is not there proves that nothing was run."""
    mark = tmp_path / "was_run"
    module, name = function.split(".")
    arguments = next(given for of, what, given in payloads(str(mark)) if (of, what) == (module, name))
    with watch().listening() as heard:
        pickle.loads(pickled(called(module, name, *arguments), 2))
    assert mark.exists()
    assert any(event.startswith("pickle.find_class") for event in heard)


SEEN: dict[str, set[bytes]] = {}
"""Hashes of the files of each family that was generated."""


def generated(kit: Kit, family: str) -> Iterator[File]:
    hashes = set()
    for label, data in FAMILIES[family](kit):
        hashes.add(hashlib.sha256(data).digest())
        yield label, data
    SEEN[family] = hashes


IN_LINES = [name for name in FAMILIES if name not in {"bombs", "amplifiers"}]


@pytest.mark.parametrize("family", IN_LINES)
def test_it_is_refused_in_one_line_with_nothing_run_or_written(kit: Kit, warm: Path, family: str) -> None:
    faults = []
    path = warm / "checkpoint.pth"
    for label, data in generated(kit, family):
        path.write_bytes(data)
        if found := complaint(path, warm):
            faults.append(f"{label}: {found}")
    assert faults == []
    assert not Path(kit.sentinel).exists()
    assert "SUPERINFO_WAS_RUN" not in os.environ


@pytest.mark.parametrize("family", ["bombs", "amplifiers"])
def test_a_bomb_takes_no_memory(kit: Kit, warm: Path, family: str) -> None:
    """Memory grows with the file, which has 3 MB at most, not with what it claims."""
    faults = []
    path = warm / "checkpoint.pth"
    for label, data in generated(kit, family):
        path.write_bytes(data)
        reset_peak_memory()
        at_first = peak_memory_mib()
        with memory_bounded(mib=2000):
            found = complaint(path, warm)
        if (grown := peak_memory_mib() - at_first) > 150:
            found = f"{found}, and takes {grown:.0f} MiB"
        if found:
            faults.append(f"{label}: {found}")
    assert faults == []
    assert not Path(kit.sentinel).exists()


def test_these_were_a_thousand_distinct_files(kit: Kit) -> None:
    for family in FAMILIES.keys() - SEEN.keys():
        assert all(label for label, _ in generated(kit, family))
    assert len(set().union(*SEEN.values())) >= 1000
    assert all(len(hashes) >= 10 for hashes in SEEN.values())


def test_a_storage_of_many_tensors_is_read_once(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tensors of an encoder as parts of one, as flattening optimisers leave them."""
    state = {key: tensor for key, tensor in safetensors.torch.load(kit.safetensors).items() if tensor.dim()}
    flat, start = torch.cat([tensor.flatten() for tensor in state.values()]), 0
    for key, tensor in state.items():
        state[key] = flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(saved(state))
    read, checksum = 0, zlib.crc32

    def counted(data: Any, *start: int) -> int:
        nonlocal read
        read += len(data)
        return checksum(data, *start)

    monkeypatch.setattr(zlib, "crc32", counted)
    load_reading(path, read_encoder(path))
    assert read < 2 * path.stat().st_size


def test_what_is_no_file_is_refused(warm: Path) -> None:
    (warm / "folder").mkdir()
    (warm / "link").symlink_to(warm / "link")
    (warm / "dangling").symlink_to(warm / "missing")
    os.mkfifo(warm / "pipe")
    for name in ("folder", "link", "dangling", "missing", "pipe", "n" * 200, "folder/missing"):
        assert complaint(warm / name, warm) is None, name
    assert complaint(Path("/dev/null"), warm) is None


def test_a_class_of_a_stranger_is_not_made_and_not_imported(kit: Kit, warm: Path) -> None:
    """A stand-in lies where an object of it was; the encoder beside it is read."""
    made = called(SPAWNS, "SubprocessHandler", *spawning(kit.sentinel))
    foreign = called("superinfo_stranger.module", "Config", 1) + literal({"secret": 1}) + b"b"
    path = warm / "checkpoint.pth"
    for entry in (made, foreign, named("superinfo_stranger", "function")):
        path.write_bytes(with_pickle(kit.zip, partial(beside, entry=entry)))
        with watch().listening() as heard:
            load_reading(path, read_encoder(path))
        assert heard == []
    assert not Path(kit.sentinel).exists()


SPAWNS = "torch.distributed.elastic.multiprocessing.subprocess_handler"
"""Has a class that starts a process when an object of it is made."""


def spawning(mark: str) -> tuple[Any, ...]:
    return ("/usr/bin/touch", (mark,), {}, None, None, 0, None)


def test_a_converted_folder_of_a_stranger_runs_nothing(kit: Kit, tmp_path: Path) -> None:
    """Detectron2's own loader unpickles whatever there is: nothing that is not the evidence's may come to it."""
    (tmp_path / "checkpoint.pth").write_bytes(kit.own)
    out = convert(tmp_path / "checkpoint.pth", tmp_path / "out")
    mark = str(tmp_path / "was_run")
    weights, good = out / WEIGHTS, (out / WEIGHTS).read_bytes()
    said = json.loads((out / "conversion.json").read_text())
    entries = [
        called(SPAWNS, "SubprocessHandler", *spawning(mark)),
        called("os", "system", f"touch {mark}"),
        called("superinfo_stranger", "Config"),
    ]
    for entry, place in itertools.product(entries, (beside, before)):
        weights.write_bytes(place(good, entry))
        said["files"][WEIGHTS] = file_sha256(weights)
        (out / "conversion.json").write_text(json.dumps(said))
        assert OVERLAY in Conversion.read(out / "conversion.json").files
        with pytest.raises(SuperInfoError) as caught:
            inspect(out)
        assert caught.value.exit_code in {2, 3}
        assert str(caught.value).isprintable()
    time.sleep(0.2)  # a process that was started would need so long
    assert not Path(mark).exists()


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "a/b", "a\nsuperinfo: all is well", "\x1b[2J", ".."])
def test_a_name_in_a_checkpoint_leads_nowhere(
    kit: Kit, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs of its detectors are folders of that name; the terminal shows it."""
    from transfer.detection.detect import record_path, who_starts
    from transfer.recipe import DetectRecipe

    path = tmp_path / "checkpoint.pth"
    path.write_bytes(with_pickle(kit.own, lambda good: good.replace(text("simclr"), text(name), 1)))
    recipe = DetectRecipe.parse(DETECTS, "test")
    with suppress(UserError):
        record = record_path(recipe, who_starts(recipe, convert(path, tmp_path / "out"), 0), 0, tmp_path / "runs")
        assert record.resolve().parent.parent == (tmp_path / "runs").resolve()
    told = capsys.readouterr().err.rstrip("\n")
    assert not told or told.isprintable()


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nproven  yes, again", "\u202e"])
def test_a_name_in_a_checkpoint_does_not_reach_the_terminal(kit: Kit, tmp_path: Path, name: str) -> None:
    path = tmp_path / "checkpoint.pth"
    more = text(name) + mapping({"x": tensor(stored=storage(key="1", count=8), size=(8,), stride=(1,))}) + b"s."
    path.write_bytes(with_pickle(kit.zip, lambda good: good[:-1] + more))
    with suppress(UserError):
        lines = render(inspect(path)).split("\n")
        assert all(line.isprintable() for line in lines)
        assert not any(line.startswith("proven") for line in lines)


DETECTS: dict[str, Any] = {
    "name": "tiny",
    "protocol": "test",
    "data": {"kind": "scenes", "size": 64, "classes": ["disk"], "train": 2, "test": 2, "objects": [1, 1]},
    "config": "mask_rcnn_fpn_cpu",
    "options": {},
    "encoder": {"arch": "resnet18", "width": 0.125},
}

DRIVER = """
import contextlib, io, json, sys, warnings
from pathlib import Path
from superinfo.cli import main
told = []
for verb, path, *rest in json.load(sys.stdin):
    sys.argv = ["superinfo", verb, path, *rest]
    out, err = io.StringIO(), io.StringIO()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""


def test_twenty_and_more_are_refused_by_the_verbs(kit: Kit, tmp_path: Path) -> None:
    """By `convert` and by `inspect`, one of each family and a few that no family has."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, family in FAMILIES.items():
        files = list(itertools.islice(family(kit), 12)) if name != "amplifiers" else []
        for label, data in files[len(files) // 2 : len(files) // 2 + 1]:
            (folder / f"{name}.pth").write_bytes(data)
            assert label
    paths = [*sorted(folder.iterdir()), folder / "missing.pth"]
    assert len(paths) >= 20
    out = tmp_path / "out"
    commands = [["convert", str(path), "--out", str(out)] for path in paths]
    commands += [["inspect", str(path)] for path in paths] + [["inspect", str(path), "--json"] for path in paths[:3]]
    driver = [sys.executable, "-c", DRIVER]
    done = subprocess.run(driver, input=json.dumps(commands), capture_output=True, text=True, check=True, cwd=tmp_path)
    faults = []
    for command, (code, stdout, stderr) in zip(commands, json.loads(done.stdout), strict=True):
        is_line = stderr.endswith("\n") and stderr[:-1].isprintable()
        named_first = stderr.startswith(f"superinfo: {command[1]}: ")
        if (code, stdout, is_line, named_first) != (2, "", True, True):
            faults.append((command[:2], code, stdout, stderr))
    assert faults == []
    assert sorted(tmp_path.iterdir()) == [folder]
    assert not Path(kit.sentinel).exists()


@pytest.mark.parametrize("verb", ["convert", "inspect"])
def test_the_process_ends_with_2_and_one_line(kit: Kit, tmp_path: Path, verb: str) -> None:
    path = tmp_path / "checkpoint.pth"
    call = called("os", "system", f"touch {kit.sentinel}")
    path.write_bytes(with_pickle(kit.zip, partial(beside, entry=call)))
    command = [sys.executable, "-m", "superinfo.cli", verb, str(path)]
    command += ["--out", str(tmp_path / "out")] if verb == "convert" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"superinfo: {path}: asks to run os.system: refused, nothing was run")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]
    assert not Path(kit.sentinel).exists()
