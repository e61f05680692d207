"""Checkpoint files of any format, opened without running anything from them, their tensors left in the file."""

import io
import mmap
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from superinfo.errors import UserError
from transfer.convert.constructors import Name
from transfer.convert.foreign import known_otherwise
from transfer.convert.pickles import load_pickle
from transfer.convert.tensors import MOST, STORAGE_DTYPES, DType, Incomplete, Malformed, Record, Storage

MOST_RECORDS = 200_000
"""Of a zip archive; a checkpoint has one for each tensor."""
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""The first object of a torch file from before version 1.6."""
SAFETENSORS_HEADER = 100 * 2**20
_SAFE_DTYPES: dict[str, DType] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Those that an encoder, or a counter of it, may have."""


@dataclass(frozen=True)
class Opened:
    """What a file holds."""

    format: str
    """torch zip, torch legacy, pickle or safetensors."""
    content: Any
    """Dictionaries, lists, numbers, texts, stand-ins, and tensors that are read when asked for."""
    metadata: Mapping[str, str]
    """Of a safetensors file."""


def open_checkpoint(path: Path, *, strangers: bool = True) -> Opened:
    """Open a checkpoint of torch (zip, or older), of safetensors, or a pickle of NumPy arrays as Detectron2 has it.

    Objects of unknown classes become inert stand-ins; without `strangers` all that no converted file has is refused.
    Raises UserError, one line, for any other file, a broken one, and one that asks for code to be run.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; correct the path")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: an empty file; was it copied or downloaded to the end?")
    with path.open("rb") as file:
        # A private mapping: torch can view it without a copy, and writing to it would not change the file.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    try:
        if bytes(data[:4]) in {b"PK\x03\x04", b"PK\x05\x06"}:
            return Opened("torch zip", _read_zip(data, strangers), {})
        if _is_safetensors(data):
            return _read_safetensors(path)
        if told := known_otherwise(data):
            raise UserError(told)
        return _read_pickles(data, strangers)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (Malformed, zipfile.BadZipFile) as error:
        incomplete = isinstance(error, (Incomplete, zipfile.BadZipFile))
        whole = "save the state_dict() by torch.save" if strangers else "convert anew"
        remedy = "was it copied or downloaded to the end?" if incomplete else whole
        raise UserError(f"{path}: not a checkpoint that can be read: {error}; {remedy}") from None
    except (MemoryError, OverflowError, RecursionError):
        raise UserError(f"{path}: not a checkpoint that can be read: it claims more than it holds") from None


def _read_zip(data: memoryview, strangers: bool) -> Any:
    """Read a torch file: an archive whose `data.pkl` names the storages beside it, all of them uncompressed."""
    records = _records(data)
    roots = {name.removesuffix("data.pkl") for name in records if name.count("/") <= 1 and name.endswith("data.pkl")}
    if len(roots) != 1:
        raise UserError("a zip archive, but not one of torch: it has no data.pkl; unpack it and name the file inside")
    (root,) = roots
    if f"{root}constants.pkl" in records or any(name.startswith(f"{root}code/") for name in records):
        raise UserError("a TorchScript program, not a checkpoint; save its state_dict() by torch.save")
    if f"{root}byteorder" in records and bytes(records[f"{root}byteorder"].checked()) != b"little":
        raise UserError("written on a big-endian machine; load and save it once on a little-endian one")

    def storage(identity: Any) -> Storage:
        kind, key, count, _ = _identity(identity)
        if (record := records.get(f"{root}data/{key}")) is None:
            raise Malformed(f"storage {key[:20]} is missing")
        storage = Storage.of_bytes(record.data, _storage_dtype(kind), record)
        if storage.count != count:
            raise Malformed(f"storage {key[:20]} has {storage.count:,} elements instead of {count:,}")
        return storage

    return load_pickle(records[f"{root}data.pkl"].checked(), persistent=storage, strangers=strangers)[0]


def _records(data: memoryview) -> dict[str, Record]:
    """Return where each record of a zip archive lies. Raises Malformed for what torch does not write."""
    try:
        with zipfile.ZipFile(_View(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MOST_RECORDS:
                raise Malformed(f"an archive of {len(entries):,} records")
            records = {entry.filename: Record(_place(data, entry), entry.CRC) for entry in entries}
            if len(records) < len(entries):
                raise Malformed("an archive with two records of one name")
            return records
    except (NotImplementedError, ValueError, OSError, EOFError, UnicodeDecodeError) as error:
        if isinstance(error, Malformed):
            raise
        raise Incomplete(f"broken archive ({' '.join(str(error).split())[:60]})") from None


def _place(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    shown = entry.filename[:60]
    parts = entry.filename.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise Malformed(f"an archive with the path {shown}, which leads outside of it")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
        raise Malformed(f"{shown} is compressed or encrypted, which torch's files are not")
    header = data[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30 or bytes(header[:4]) != b"PK\x03\x04":
        raise Incomplete(f"{shown} is not where the archive says")
    name, extra = (int.from_bytes(header[place : place + 2], "little") for place in (26, 28))
    start = entry.header_offset + 30 + name + extra
    if bytes(data[entry.header_offset + 30 : start - extra]) != entry.orig_filename.encode():
        raise Incomplete(f"{shown} has another name where it lies")
    if start + entry.file_size > len(data):
        raise Incomplete(f"{shown} ends early")
    return data[start : start + entry.file_size]


def _read_pickles(data: memoryview, strangers: bool) -> Opened:
    """Read a plain pickle, or torch's former format: five pickles, then the storages."""
    first, end = load_pickle(data, strangers=strangers)
    if first != TORCH_MAGIC:
        if not isinstance(first, dict):
            raise Malformed(f"a pickle of {type(first).__name__}, not of tensors by name")
        return Opened("pickle", first, {})
    _, end = load_pickle(data, end, strangers=strangers)
    system, end = load_pickle(data, end, strangers=strangers)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise UserError("written on a big-endian machine; load and save it once on a little-endian one")
    storages: dict[str, Storage] = {}

    def claim(identity: Any) -> Storage:
        """Return a storage whose bytes come after the object, in an order that comes after it too."""
        kind, key, count, view = _identity(identity)
        if view is not None:
            raise Malformed("a storage that is a part of another, as torch wrote them before 2018")
        return storages.setdefault(key, Storage(_storage_dtype(kind), count, memoryview(b"")))

    content, end = load_pickle(data, end, persistent=claim, strangers=strangers)
    keys, end = load_pickle(data, end, strangers=strangers)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Malformed("no list of storages")
    for key in keys:
        if (storage := storages.pop(key, None)) is None:
            raise Malformed(f"storage {key[:20]} belongs to no tensor")
        if (size := int.from_bytes(data[end : end + 8], "little")) != storage.count:
            raise Malformed(f"storage {key[:20]} has {size:,} elements instead of {storage.count:,}")
        start, end = end + 8, end + 8 + storage.count * storage.dtype.itemsize
        if end > len(data):
            raise Incomplete(f"ends early, in storage {key[:20]}")
        storage.data = data[start:end]
    if storages:
        raise Malformed(f"storage {min(storages)[:20]} is missing")
    return Opened("torch legacy", content, {})


def _identity(identity: Any) -> tuple[Any, str, int, Any]:
    """Return kind, key, number of elements and view of the storage that torch's persistent id names."""
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] != "storage":
        raise Malformed("a reference that is no storage")
    _, kind, key, _, count, *view = identity
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < MOST:
        raise Malformed("a storage without name or size")
    return kind, key, count, view[0] if view else None


def _storage_dtype(kind: Any) -> DType:
    name = kind.name if isinstance(kind, Name) else ""
    if name == "UntypedStorage":
        return torch.uint8
    if name not in STORAGE_DTYPES:
        raise Malformed(f"a storage of type {name[:40]}, which no encoder needs")
    return STORAGE_DTYPES[name]


def _read_safetensors(path: Path) -> Opened:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
            tensors = {
                name: _SafeTensor(path, name, _SAFE_DTYPES[part.get_dtype()], tuple(part.get_shape()))
                for name, part in found.items()
                if part.get_dtype() in _SAFE_DTYPES
            }
            return Opened("safetensors", tensors, dict(file.metadata() or {}))
    except SafetensorError as error:
        raise Incomplete(f"safetensors: {' '.join(str(error).split())[:100]}") from None


def _is_safetensors(data: memoryview) -> bool:
    return (
        len(data) > 9 and int.from_bytes(data[:8], "little") <= min(len(data), SAFETENSORS_HEADER) and data[8] == 0x7B
    )


@dataclass(frozen=True)
class _SafeTensor:
    path: Path
    name: str
    dtype: DType
    shape: tuple[int, ...]

    def read(self) -> torch.Tensor:
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(self.name)
            return tensor


class _View(io.RawIOBase):
    """A memory view as a file that zipfile reads."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.position = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: len(self.data)}[whence]
        if base + offset < 0:
            raise ValueError("seeks before the beginning")
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        piece = self.data[self.position : self.position + len(buffer)]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)
