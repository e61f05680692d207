"""A pickle machine that computes data and nothing else: a checkpoint is a file from a stranger.

Python's own unpickler imports what a pickle names and calls it. This one knows a fixed set of names, each of which it
computes itself (`_KNOWN`). An object of any other class is a `StandIn` that remembers what it was given; a call of any
other function is refused. Nothing is imported or run, and memory grows with the file, not with what the file claims.

Long byte strings are views of the file, not copies, so that NumPy arrays in a pickle stay on disk until they are read.
"""

import codecs
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from superinfo.errors import UserError
from transfer.convert.tensors import STORAGE_DTYPES, DType, Malformed, Storage, StoredTensor, array_dtype

Persistent = Callable[[Any], Storage]
"""Turns a persistent id, torch's way of naming a storage outside the pickle, into that storage."""

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
        ("types", "SimpleNamespace"),
        ("typing", "Any"),
        ("typing", "Dict"),
        ("typing", "List"),
        ("typing", "Optional"),
        ("typing", "Union"),
        ("uuid", "UUID"),
        *(("builtins", name) for name in ("complex", "dict", "float", "getattr", "int", "list", "object", "slice")),
        *(("builtins", name) for name in ("bool", "bytes", "range", "str", "tuple", "type")),
        *(("__builtin__", name) for name in ("complex", "dict", "getattr", "object", "slice", "long", "unicode")),
    }
)
"""Names of Python's own library that real checkpoints hold, and that become stand-ins."""
SCALARS = (str, int, float, bool, bytes, type(None))


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


def load_pickle(data: memoryview, start: int = 0, persistent: Persistent | None = None) -> tuple[Any, int]:
    """Return the object that a pickle describes, and where it ends.

    Raises Malformed on anything that is no pickle, and UserError on one that asks for code to be run.
    """
    machine = _Machine(data, start, persistent)
    return machine.run(), machine.position


class _Mark:
    """Stands on the stack where a group of items begins."""


_MARK = _Mark()


class _Machine:
    def __init__(self, data: memoryview, start: int, persistent: Persistent | None) -> None:
        self.data, self.position, self.persistent = data, start, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        try:
            while (code := self.data[self.position]) != _STOP:
                self.position += 1
                step = _STEPS.get(code)
                if step is None:
                    raise Malformed(f"byte {self.position - 1} is no pickle instruction that data needs")
                step(self)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            if isinstance(error, Malformed):
                raise
            raise Malformed(f"broken near byte {self.position}") from None
        self.position += 1
        if len(self.stack) != 1:
            raise Malformed("ends in the middle of an object")
        return self.stack[0]

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise Malformed(f"ends early: {count} bytes wanted at byte {self.position}, {len(self.data)} there")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        for end in range(self.position, min(len(self.data), self.position + 4096)):
            if self.data[end] == 0x0A:
                text = bytes(self.take(end - self.position))
                self.position += 1
                return text.decode("utf-8", "replace")
        raise Malformed(f"ends early: a line at byte {self.position} does not end")

    def text(self, count: int) -> str:
        return str(self.take(count), "utf-8", "surrogatepass")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                items = self.stack[place + 1 :]
                del self.stack[place:]
                return items
        raise Malformed("a group of items without a beginning")

    def top(self, count: int) -> tuple[Any, ...]:
        if len(self.stack) < count:
            raise Malformed("takes more than there is")
        items = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return items

    def remember(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.items += pairs
            return
        if not isinstance(target, dict) or len(pairs) % 2:
            raise Malformed("sets items of what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_key(key)] = value

    def dictionary(self, pairs: list[Any]) -> None:
        self.push({})
        self.set_items(pairs)

    def append_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.items += items
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise Malformed("appends to what is no list")

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Malformed("a class without a name")
        self.push(_admitted(Name(module, name)))

    def call(self) -> None:
        called, arguments = self.top(2)
        if not isinstance(arguments, tuple):
            raise Malformed("a call without arguments")
        if not isinstance(called, Name):
            raise Malformed("calls what is no class")
        known = _KNOWN.get((called.module, called.name))
        self.push(known(*arguments) if known else _inert(called, arguments))

    def make(self, called: Any, arguments: Any) -> None:
        if not isinstance(called, Name) or not isinstance(arguments, tuple):
            raise Malformed("makes an object of what is no class")
        empty = _EMPTY.get((called.module, called.name))
        self.push(empty() if empty else _inert(called, arguments))

    def build(self) -> None:
        target, state = self.top(2)
        if isinstance(target, (StandIn, _Array, _DTypeState)):
            target.state = state
        # An OrderedDict's own attributes, as state_dict's `_metadata`, are of no use here.
        self.push(target.built() if isinstance(target, _Array) else target)

    def refer(self, identity: Any) -> None:
        if self.persistent is None:
            raise Malformed("names a storage outside the file")
        self.push(self.persistent(identity))


def _key(key: Any) -> Any:
    """Return a dictionary key if its hash costs nothing: a tuple of tuples of ... could take for ever."""
    if isinstance(key, (*SCALARS, Name, DType)):
        return key
    if isinstance(key, memoryview):
        return bytes(key)
    if isinstance(key, tuple) and all(isinstance(part, SCALARS) for part in key):
        return key
    raise Malformed(f"a dictionary key of type {type(key).__name__}")


def _admitted(name: Name) -> Name:
    """Return a name: naming is harmless, but what is named in Python's own library has no place in a checkpoint."""
    key, root = (name.module, name.name), name.module.partition(".")[0]
    if key in _KNOWN or key in _EMPTY or key in HARMLESS or root not in STANDARD_LIBRARY:
        return name
    raise _refusal(name)


def _inert(called: Name, arguments: tuple[Any, ...]) -> StandIn:
    """Return what stands for an object of a class. Raises UserError where a function would be called."""
    key, last = (called.module, called.name), called.name.rpartition(".")[2]
    # By their names, as nothing is imported to find out; for safety it does not matter: neither is ever run.
    if key in HARMLESS or last.lstrip("_")[:1].isupper() or key == ("torch", "device"):
        return StandIn(called, arguments)
    raise _refusal(called)


def _refusal(name: Name) -> UserError:
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(name))[:80]
    return UserError(f"asks to run {shown}: refused, nothing was run; take the file from a source that you trust")


class _DTypeState:
    """numpy.dtype on its way: its byte order comes after it."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.state = str(code), None

    def resolved(self) -> DType:
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return array_dtype(self.code, order)


class _Array:
    """numpy.ndarray on its way: shape, dtype and bytes come after it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def built(self) -> Any:
        _, shape, dtype, fortran, data = self.state
        if not isinstance(dtype, _DTypeState):
            raise Malformed("an array without a dtype")
        if isinstance(data, list):  # an array of objects
            return StandIn(Name("numpy", "ndarray"), (), data)
        return StoredTensor.of_array(_buffer(data), dtype.resolved(), shape, fortran=bool(fortran))


def _buffer(data: Any) -> memoryview:
    if isinstance(data, str):  # as Python 2 wrote it
        data = data.encode("latin-1")
    if not isinstance(data, (bytes, memoryview)):
        raise Malformed("an array without bytes")
    return memoryview(data)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, _DTypeState):
        return StandIn(Name("numpy", "scalar"), (data,))
    return StoredTensor.of_array(_buffer(data), dtype.resolved(), (), fortran=False).read().item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """Protocol 2 has no bytes: they come as text to be encoded."""
    if not isinstance(text, str) or codecs.lookup(str(encoding)).name not in {"iso8859-1", "utf-8", "ascii"}:
        raise Malformed("bytes that cannot be encoded")
    return text.encode(str(encoding))


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
    return StoredTensor.of_array(_buffer(dtype_and_data), dtype.resolved(), shape, fortran=order == "F")


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    if isinstance(pairs, dict):
        return pairs
    return {_key(key): value for key, value in pairs}


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "defaultdict"): lambda *_: {},
    ("_codecs", "encode"): _encoded,
    ("builtins", "set"): lambda items=(): list(items),
    ("builtins", "frozenset"): lambda items=(): list(items),
    ("__builtin__", "set"): lambda items=(): list(items),
    ("builtins", "bytearray"): lambda *given: _encoded(*given) if given and isinstance(given[0], str) else b"",
    ("torch", "Size"): lambda sizes=(): tuple(sizes),
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
    raise Malformed(f"a tensor of dtype {name}")


def _text_integer(text: str) -> int | bool:
    return {"00": False, "01": True}.get(text) if text in {"00", "01"} else int(text.rstrip("L"))  # type: ignore[return-value]


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise Malformed("a string without quotes")
    return codecs.decode(text[1:-1].encode("latin-1", "replace"), "unicode_escape")


def _long(data: memoryview) -> int:
    return int.from_bytes(data, "little", signed=True)


_STOP = ord(".")
_STEPS: dict[int, Callable[[_Machine], object]] = {
    ord(code) if isinstance(code, str) else code: step
    for code, step in {
        0x80: lambda m: m.take(1),  # PROTO
        0x95: lambda m: m.take(8),  # FRAME: its length is of no use to a reader of the whole file
        "(": lambda m: m.push(_MARK),
        "0": lambda m: m.top(1),
        "1": lambda m: m.since_mark(),
        "2": lambda m: m.push(m.stack[-1]),
        "N": lambda m: m.push(None),
        0x88: lambda m: m.push(True),
        0x89: lambda m: m.push(False),
        "I": lambda m: m.push(_text_integer(m.line())),
        "J": lambda m: m.push(m.number("<i")),
        "K": lambda m: m.push(m.number("<B")),
        "M": lambda m: m.push(m.number("<H")),
        "L": lambda m: m.push(int(m.line().rstrip("L"))),
        0x8A: lambda m: m.push(_long(m.take(m.number("<B")))),
        0x8B: lambda m: m.push(_long(m.take(m.number("<i")))),
        "F": lambda m: m.push(float(m.line())),
        "G": lambda m: m.push(m.number(">d")),
        "S": lambda m: m.push(_quoted(m.line())),
        "T": lambda m: m.push(str(m.take(m.number("<i")), "latin-1")),
        "U": lambda m: m.push(str(m.take(m.number("<B")), "latin-1")),
        "V": lambda m: m.push(codecs.decode(m.line().encode("latin-1", "replace"), "raw_unicode_escape")),
        "X": lambda m: m.push(m.text(m.number("<I"))),
        0x8C: lambda m: m.push(m.text(m.number("<B"))),
        0x8D: lambda m: m.push(m.text(m.number("<Q"))),
        "B": lambda m: m.push(m.take(m.number("<I"))),
        "C": lambda m: m.push(m.take(m.number("<B"))),
        0x8E: lambda m: m.push(m.take(m.number("<Q"))),
        0x96: lambda m: m.push(m.take(m.number("<Q"))),
        "]": lambda m: m.push([]),
        ")": lambda m: m.push(()),
        "}": lambda m: m.push({}),
        0x8F: lambda m: m.push([]),  # a set: nothing here reads one
        "l": lambda m: m.push(m.since_mark()),
        "t": lambda m: m.push(tuple(m.since_mark())),
        0x91: lambda m: m.push(m.since_mark()),
        0x85: lambda m: m.push(m.top(1)),
        0x86: lambda m: m.push(m.top(2)),
        0x87: lambda m: m.push(m.top(3)),
        "d": lambda m: m.dictionary(m.since_mark()),
        "a": lambda m: m.append_items(list(m.top(1))),
        "e": lambda m: m.append_items(m.since_mark()),
        0x90: lambda m: m.append_items(m.since_mark()),
        "s": lambda m: m.set_items(list(m.top(2))),
        "u": lambda m: m.set_items(m.since_mark()),
        "g": lambda m: m.push(m.memo[int(m.line())]),
        "h": lambda m: m.push(m.memo[m.number("<B")]),
        "j": lambda m: m.push(m.memo[m.number("<I")]),
        "p": lambda m: m.remember(int(m.line())),
        "q": lambda m: m.remember(m.number("<B")),
        "r": lambda m: m.remember(m.number("<I")),
        0x94: lambda m: m.remember(len(m.memo)),
        "c": lambda m: m.name(m.line(), m.line()),
        0x93: lambda m: m.name(*m.top(2)),
        "R": lambda m: m.call(),
        0x81: lambda m: m.make(*m.top(2)),
        0x92: lambda m: m.make(*m.top(3)[:2]),
        "b": lambda m: m.build(),
        "P": lambda m: m.refer(m.line()),
        "Q": lambda m: m.refer(*m.top(1)),
    }.items()
}
"""The instructions of pickle protocols 0 to 5 (Python's pickletools documents them), but for the two that make
instances of old-style classes and those that look up a registry of extensions."""
