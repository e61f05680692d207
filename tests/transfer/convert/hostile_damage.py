"""Good files that were cut, holed or changed where no reader may overlook it."""

import io
import itertools
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tests.transfer.convert.hostile_parts import File, Kit, legacy_ends, with_legacy_pickle, with_pickle

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
