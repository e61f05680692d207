"""Tensors that stay in their file until they are read."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch

from superinfo.errors import UserError

DType = torch.dtype
MOST_DIMENSIONS = 16
MOST = 2**48
"""Of anything that is counted."""

STORAGE_DTYPES: dict[str, DType] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""Torch's classes of storages, and what lies in them."""
_ARRAY_DTYPES: dict[str, DType] = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "b1": torch.bool,
}


class Malformed(ValueError):
    """A file that is not what it says it is; the message says where."""


class Incomplete(Malformed):
    """A file of which a part is missing or damaged."""


class FileTensor(Protocol):
    """A tensor in a file."""

    @property
    def dtype(self) -> DType:
        """Return its type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""

    def read(self) -> torch.Tensor:
        """Return its values: a view of the file where that is possible, never to be written to."""


@dataclass
class Record:
    """Bytes of an archive, with their checksum."""

    data: memoryview
    checksum: int
    """CRC-32; 0 where torch was told to write none."""
    is_good: bool = False
    """Whether that was found already."""

    def checked(self) -> memoryview:
        """Return the bytes. Raises Malformed if they are not those that were written."""
        if not self.is_good and self.checksum not in {0, zlib.crc32(self.data)}:
            raise Incomplete("is damaged: its bytes have another checksum")
        self.is_good = True
        return self.data


@dataclass
class Storage:
    """`count` values of one type, one after the other; where their bytes lie may come to be known last."""

    dtype: DType
    count: int
    data: memoryview
    record: Record | None = None
    """That the bytes are, where they have a checksum."""

    @classmethod
    def of_bytes(cls, data: memoryview, dtype: DType, record: Record | None = None) -> Self:
        """Return the storage that some bytes are."""
        return cls(dtype, len(data) // dtype.itemsize, data, record)


@dataclass(frozen=True)
class StoredTensor:
    """Places in a storage: `offset`, `shape` and `stride`, all in elements. They lie within it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of_storage(cls, storage: Any, offset: Any, shape: Any, stride: Any, dtype: DType | None = None) -> Self:
        """Check what a file says.

        Raises Malformed if the tensor does not lie within its storage, UserError if it has more elements than that.
        """
        if not isinstance(storage, Storage):
            raise Malformed("a tensor without a storage")
        if dtype is not None and dtype != storage.dtype:
            storage = Storage.of_bytes(storage.data, dtype, storage.record)
        numbers = (offset, *shape, *stride)
        if not all(type(number) is int and 0 <= number < MOST for number in numbers):
            raise Malformed("a tensor whose shape is not of whole numbers that a machine counts to")
        if len(shape) != len(stride) or len(shape) > MOST_DIMENSIONS:
            raise Malformed(f"a tensor of {len(shape)} dimensions with {len(stride)} strides")
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        # Steps of zero would show a few bytes as a tensor of any size.
        if math.prod(shape) > storage.count > last:
            stored = f"of shape {_short(shape)} over a storage of {storage.count:,}"
            raise UserError(f"an expanded tensor, {stored}; save it as .contiguous()")
        if math.prod(shape) and last >= storage.count:
            raise Malformed(f"a tensor of shape {_short(shape)} in a storage of {storage.count:,} elements")
        return cls(storage, offset, tuple(shape), tuple(stride))

    @classmethod
    def of_array(cls, data: memoryview, dtype: DType, shape: Any, *, fortran: bool) -> Self:
        """Return what a NumPy array's bytes are. Raises Malformed if there are not as many as its shape says."""
        if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < MOST for size in shape):
            raise Malformed("an array whose shape is not of whole numbers that a machine counts to")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise Malformed(f"an array of shape {_short(shape)} in {len(data):,} bytes")
        order = shape if fortran else shape[::-1]
        steps = [math.prod(order[:place]) for place in range(len(order))]
        return cls.of_storage(Storage.of_bytes(data, dtype), 0, shape, tuple(steps if fortran else steps[::-1]))

    @property
    def dtype(self) -> DType:
        """Return its type."""
        return self.storage.dtype

    def read(self) -> torch.Tensor:
        """Return its values: a view of the file where that is possible, never to be written to.

        Raises Malformed if the bytes are not those that were written.
        """
        if self.storage.record is not None:
            self.storage.record.checked()
        if not math.prod(self.shape):
            return torch.empty(self.shape, dtype=self.dtype)
        data = self.storage.data
        # torch warns of views that cannot be written to, and its kernels expect values where their size divides.
        raw = torch.frombuffer(bytearray(data) if data.readonly else data, dtype=torch.uint8)
        raw = raw[: self.storage.count * self.dtype.itemsize]
        aligned = raw if raw.data_ptr() % self.dtype.itemsize == 0 else raw.clone()
        return aligned.view(self.dtype).as_strided(self.shape, self.stride, self.offset)


def array_dtype(code: str, order: Any) -> DType | None:
    """Return the type of a NumPy dtype code, as `f4`; None for one that no encoder has.

    Raises Malformed for numbers in another byte order.
    """
    if order == ">":
        raise Malformed(f"an array of dtype >{code[:20]}, written on a big-endian machine")
    return _ARRAY_DTYPES.get(code)


def _short(shape: Sequence[int]) -> str:
    return str(tuple(shape))[:80]
