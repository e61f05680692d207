"""What a pickle may make, each by a function of this file: nothing that it names is imported or called.

A dictionary, a tensor or an array is made here. An object of any other class is a `StandIn` that remembers what it was
given, and any other function is refused when it would be called.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from superinfo.errors import UserError
from transfer.convert.tensors import MOST_DIMENSIONS, STORAGE_DTYPES, DType, Malformed, StoredTensor, array_dtype

STANDARD_LIBRARY = frozenset({*sys.stdlib_module_names, "__builtin__", "copy_reg", "commands"})
"""Of Python 3, and what Python 2 called otherwise."""
HARMLESS = frozenset(
    {
        ("argparse", "Namespace"),
        ("collections", "Counter"),
        ("collections", "deque"),
        ("copyreg", "_reconstructor"),
        ("copy_reg", "_reconstructor"),
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "timedelta"),
        ("functools", "partial"),
        ("pathlib", "Path"),
        ("pathlib", "PosixPath"),
        ("pathlib", "PurePosixPath"),
        ("pathlib", "WindowsPath"),
        ("pathlib._local", "PosixPath"),
        ("pathlib._local", "WindowsPath"),
        ("types", "SimpleNamespace"),
        ("typing", "Any"),
        ("typing", "Dict"),
        ("typing", "List"),
        ("typing", "Optional"),
        ("typing", "Union"),
        ("uuid", "UUID"),
        *(("builtins", name) for name in ("complex", "dict", "float", "getattr", "int", "list", "object", "slice")),
        *(("builtins", name) for name in ("bool", "bytes", "range", "str", "tuple", "type")),
        *(("__builtin__", name) for name in ("complex", "dict", "float", "getattr", "int", "list", "long", "object")),
        *(("__builtin__", name) for name in ("bool", "slice", "str", "tuple", "unicode")),
    }
)
"""Names of Python's own library that real checkpoints hold, and that become stand-ins."""
WRITTEN = frozenset(
    {
        ("collections", "OrderedDict"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("torch", "FloatStorage"),
        ("torch", "LongStorage"),
        ("torch._utils", "_rebuild_tensor_v2"),
    }
)
"""What converted files name, written by NumPy 1 or 2 and torch."""
UNREAD = {
    ("torch.storage", "_load_from_bytes"): "tensors that pickle.dump wrote; save the state_dict() by torch.save",
    ("torch._utils", "_rebuild_qtensor"): "quantised tensors; save the state_dict() of the model that was quantised",
    ("torch._utils", "_rebuild_sparse_tensor"): "sparse tensors; save them as .to_dense()",
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): "tensors of the meta device, without values; save those",
}
"""What a file holds that names these functions of torch, and what helps."""
LONGEST_KEY = 1024
"""Of bytes."""
ENCODINGS = {"latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii"}


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class StandIn:
    """An object of a class that is not known here: what it was made of, inert."""

    kind: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)


def admit(name: Name, *, strangers: bool) -> Name:
    """Return a name. Raises UserError for one of Python's own library that no checkpoint holds.

    Without `strangers`, for any that no converted file names: a proven one is safe in its users' unpicklers too.
    """
    key, root = (name.module, name.name), name.module.partition(".")[0]
    if key in UNREAD:
        raise UserError(f"holds {UNREAD[key]}")
    known = key in _KNOWN or key in _EMPTY or key in HARMLESS
    if key in WRITTEN or (strangers and (known or root not in STANDARD_LIBRARY)):
        return name
    raise _refusal(name)


def call(called: Any, arguments: Any, *, strangers: bool) -> Any:
    """Return what a call makes. Raises UserError where a function would be run, Malformed where nothing is called.

    Without `strangers`, Malformed too where NumPy would be given other arguments than converted files have.
    """
    if not isinstance(called, Name) or not isinstance(arguments, tuple):
        raise Malformed("calls what is no class")
    if not strangers and not _is_written_call(called, arguments):
        raise Malformed(f"calls {called} as no converted file does")
    known = _KNOWN.get((called.module, called.name))
    return known(*arguments) if known else _stand_in(called, arguments, strangers)


def make_empty(called: Any, arguments: Any, *, strangers: bool) -> Any:
    """Return a new object of a class, before it is given its state. Raises as `call` does."""
    if not isinstance(called, Name) or not isinstance(arguments, tuple):
        raise Malformed("makes an object of what is no class")
    empty = _EMPTY.get((called.module, called.name))
    return empty() if empty else _stand_in(called, arguments, strangers)


def is_unbuilt(value: Any) -> bool:
    """Whether an object becomes another one when it is given its state."""
    return isinstance(value, _Array)


def give_state(target: Any, state: Any, *, strangers: bool) -> Any:
    """Return an object with its state, such as an array with its bytes.

    Raises Malformed if it does not fit and, without `strangers`, if no converted file has such a state.
    """
    if not strangers and not _is_written_state(target, state):
        raise Malformed("a state that no converted file has")
    if isinstance(target, (StandIn, _Array, _DTypeState)):
        target.state = state
    # A dictionary's own attributes, as state_dict's `_metadata`, are of no use here.
    return target.built() if isinstance(target, _Array) else target


def _is_written_call(called: Name, arguments: tuple[Any, ...]) -> bool:
    """Whether NumPy's own function would make an empty array, or a dtype of plain numbers, of it."""
    if called.name == "_reconstruct":
        return arguments == (Name("numpy", "ndarray"), (0,), b"b")
    if called.name == "dtype":
        code, *how = arguments or (None,)
        return isinstance(code, str) and array_dtype(code, "=") is not None and how == [False, True]
    return True


def _is_written_state(target: Any, state: Any) -> bool:
    """Whether NumPy's own objects would keep their memory: a dtype's state may say of any bytes that they are objects.

    Arrays are compared with their bytes when they are built.
    """
    if isinstance(target, _DTypeState):
        return state in [(3, order, None, None, None, -1, -1, 0) for order in "<|"]
    return isinstance(target, _Array) and isinstance(state, tuple) and not isinstance(state[-1], list)


def checked_key(key: Any) -> Any:
    """Return a dictionary key if its hash costs little: a tuple of tuples of ... could take for ever."""
    if isinstance(key, memoryview) and len(key) <= LONGEST_KEY:
        return bytes(key)
    if isinstance(key, (Name, DType)) or _is_cheap(key):
        return key
    if isinstance(key, tuple) and len(key) <= MOST_DIMENSIONS and all(map(_is_cheap, key)):
        return key
    raise Malformed(f"a dictionary key of type {type(key).__name__}")


def _is_cheap(key: Any) -> bool:
    """Whether a hash takes no time: Python remembers that of a text, but not that of a number of many digits."""
    if isinstance(key, int):
        return key.bit_length() <= 64
    return key is None or isinstance(key, (str, float)) or (isinstance(key, bytes) and len(key) <= LONGEST_KEY)


def _stand_in(called: Name, arguments: tuple[Any, ...], strangers: bool) -> StandIn:
    """Return what stands for an object of a class. Raises UserError where a function would be called."""
    key, last = (called.module, called.name), called.name.rpartition(".")[2]
    # By their names, as nothing is imported to find out; for safety it does not matter: neither is ever run.
    if strangers and (key in HARMLESS or last.lstrip("_")[:1].isupper() or key == ("torch", "device")):
        return StandIn(called, arguments)
    raise _refusal(called)


def _refusal(name: Name) -> UserError:
    return UserError(
        f"asks to run {str(name)[:80]}: refused, nothing was run; take the file from a source that you trust"
    )


class _DTypeState:
    """numpy.dtype on its way: its byte order comes after it."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str):
            raise Malformed("a dtype without a name")
        self.code = code
        self.state: Any = None

    def resolved(self) -> DType | None:
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return array_dtype(self.code, order)


class _Array:
    """numpy.ndarray on its way: shape, dtype and bytes come after it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def built(self) -> Any:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise Malformed("an array without a shape")
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _DTypeState):
            raise Malformed("an array without a dtype")
        if isinstance(data, list):  # an array of objects
            return StandIn(Name("numpy", "ndarray"), (), data)
        if dtype.code.startswith("O"):
            raise Malformed("an array of objects that are not there")
        if (kind := dtype.resolved()) is None:  # of numbers that no encoder has: a random state, say
            return StandIn(Name("numpy", "ndarray"))
        return StoredTensor.of_array(_buffer(data), kind, shape, fortran=bool(fortran))


def _buffer(data: Any) -> memoryview:
    if isinstance(data, str):  # as Python 2 wrote it
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, memoryview)):
        raise Malformed("an array without bytes")
    return memoryview(data)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, _DTypeState):
        return StandIn(Name("numpy", "scalar"), (data,))
    if dtype.code.startswith("O"):  # NumPy would unpickle it
        raise _refusal(Name("numpy", "scalar of an object"))
    if (kind := dtype.resolved()) is None:
        return StandIn(Name("numpy", "scalar"))
    return StoredTensor.of_array(_buffer(data), kind, (), fortran=False).read().item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocol 2 has no bytes: they come as text to be encoded."""
    if not isinstance(text, str) or encoding not in ENCODINGS:
        raise Malformed("bytes in an encoding that no pickle needs")
    return text.encode(encoding)


def _items(items: Any = ()) -> Any:
    """A set: nothing here needs more of one than what it was made of."""
    if not isinstance(items, (list, tuple)):
        raise Malformed("a set of what is no list")
    return items


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if not isinstance(sizes, (list, tuple)) or len(sizes) > MOST_DIMENSIONS:
        raise Malformed("a shape of what is no list of a few numbers")
    return tuple(sizes)


def _from_type(function: Any, _kind: Any, arguments: Any, _state: Any = None) -> Any:
    known = _KNOWN.get((function.module, function.name)) if isinstance(function, Name) else None
    if known is None:
        raise Malformed("a tensor made in a way that is not known")
    return known(*arguments)


def _frozen_buffer(dtype_and_data: Any, *rest: Any) -> Any:
    """numpy's protocol 5: (buffer, dtype, shape, order)."""
    dtype, shape, order = (*rest, "C")[:3]
    if not isinstance(dtype, _DTypeState):
        raise Malformed("an array without a dtype")
    if (kind := dtype.resolved()) is None:
        return StandIn(Name("numpy", "ndarray"))
    return StoredTensor.of_array(_buffer(dtype_and_data), kind, shape, fortran=order == "F")


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    if isinstance(pairs, dict):
        return pairs
    return {checked_key(key): value for key, value in pairs}


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): lambda *_: {},
    ("_codecs", "encode"): _encoded,
    ("builtins", "set"): _items,
    ("builtins", "frozenset"): _items,
    ("__builtin__", "set"): _items,
    ("builtins", "bytearray"): lambda *given: _encoded(*given) if given and isinstance(given[0], str) else b"",
    ("torch", "Size"): _size,
    ("torch._utils", "_rebuild_tensor"): StoredTensor.of_storage,
    ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, stride, *_: StoredTensor.of_storage(
        storage, offset, size, stride
    ),
    ("torch._utils", "_rebuild_tensor_v3"): lambda storage, offset, size, stride, _grad, _hooks, dtype, *_: (
        StoredTensor.of_storage(storage, offset, size, stride, _torch_dtype(dtype))
    ),
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("numpy", "dtype"): _DTypeState,
    **{
        (f"{package}.multiarray", name): make
        for package in ("numpy.core", "numpy._core")
        for name, make in (("_reconstruct", _Array), ("scalar", _scalar))
    },
    **{(f"{package}.numeric", "_frombuffer"): _frozen_buffer for package in ("numpy.core", "numpy._core")},
}
"""What is computed, each by a function of this file."""

_EMPTY: dict[tuple[str, str], Callable[[], Any]] = {("collections", "OrderedDict"): dict}
for _builtins in ("builtins", "__builtin__"):
    _EMPTY |= {(_builtins, "dict"): dict, (_builtins, "list"): list, (_builtins, "set"): list}


def _torch_dtype(name: Any) -> DType:
    for dtype in STORAGE_DTYPES.values():
        if isinstance(name, Name) and str(dtype) == f"torch.{name.name}":
            return dtype
    raise Malformed("a tensor of a dtype that no encoder has")
