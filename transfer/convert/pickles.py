"""A pickle machine that computes data and nothing else: a checkpoint is a file from a stranger.

Python's own unpickler imports what a pickle names and calls it. This one makes what `transfer.convert.constructors`
knows, and memory grows with the file, not with what it claims. Long byte strings are views of the file, not
copies, so that NumPy arrays in a pickle stay on disk until they are read.
"""

import codecs
import struct
from collections.abc import Callable
from typing import Any

from transfer.convert.constructors import Name, StandIn, admit, call, checked_key, give_state, is_unbuilt, make_empty
from transfer.convert.tensors import Incomplete, Malformed, Storage

Persistent = Callable[[Any], Storage]
"""Turns a persistent id, torch's way of naming a storage outside the pickle, into that storage."""


def load_pickle(
    data: memoryview, start: int = 0, persistent: Persistent | None = None, *, strangers: bool = True
) -> tuple[Any, int]:
    """Return the object that a pickle describes, and where it ends; `strangers` become stand-ins, or are refused.

    Raises Malformed on anything that is no pickle, and UserError on one that asks for code to be run.
    """
    machine = _Machine(data, start, persistent, strangers)
    return machine.run(), machine.position


CHUNK = 1 << 16
"""Bytes that are looked through at a time for the end of a line."""


class _Mark:
    """Stands on the stack where a group of items begins."""


_MARK = _Mark()


class _Machine:
    def __init__(self, data: memoryview, start: int, persistent: Persistent | None, strangers: bool) -> None:
        self.data, self.position, self.persistent, self.strangers = data, start, persistent, strangers
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.unbuilt: dict[int, int] = {}
        """By identity, where in the memo an object lies that another will take the place of when it has its state."""
        self.copied = 0

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
            if self.position >= len(self.data):
                raise Incomplete("ends early") from None
            raise Malformed(f"broken near byte {self.position}") from None
        self.position += 1
        if len(self.stack) != 1:
            raise Malformed("ends in the middle of an object")
        return self.stack[0]

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise Incomplete(f"ends early: {count} bytes wanted at byte {self.position}, {len(self.data)} there")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        end, found = self.position, -1
        while found < 0:
            if end >= len(self.data):
                raise Incomplete(f"ends early: a line at byte {self.position} does not end")
            found = bytes(self.data[end : end + CHUNK]).find(b"\n")
            end += CHUNK if found < 0 else found
        text = bytes(self.take(end - self.position))
        self.position += 1
        return text

    def number_in_text(self) -> int:
        return int(self.line().rstrip(b"L"))

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
        if not self.strangers and place > len(self.memo):  # Python's own unpickler would make room up to there
            raise Malformed("remembers at a place that no converted file has")
        self.memo[place] = self.stack[-1]
        if is_unbuilt(self.stack[-1]):
            self.unbuilt[id(self.stack[-1])] = place

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.items += pairs
            return
        if not isinstance(target, dict) or len(pairs) % 2:
            raise Malformed("sets items of what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[checked_key(key)] = value

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
        self.push(admit(Name(module, name), strangers=self.strangers))

    def call(self, called: Any, arguments: Any) -> None:
        if isinstance(arguments, tuple):
            self.count(sum(len(part) for part in arguments if isinstance(part, (str, list))))
        self.push(call(called, arguments, strangers=self.strangers))

    def build(self, target: Any, state: Any) -> None:
        if isinstance(state, tuple) and state and isinstance(state[-1], str):  # Python 2's bytes, as an array's
            self.count(len(state[-1]))
        self.push(built := give_state(target, state, strangers=self.strangers))
        if (place := self.unbuilt.pop(id(target), None)) is not None and built is not target:
            self.memo[place] = built

    def count(self, parts: int) -> None:
        """Keep count of what calls copy: of a text that is encoded again and again, few bytes would make many."""
        self.copied += parts
        if self.copied > len(self.data):
            raise Malformed("makes more than it holds")

    def make(self, called: Any, arguments: Any) -> None:
        self.push(make_empty(called, arguments, strangers=self.strangers))

    def refer(self, identity: Any) -> None:
        if self.persistent is None:
            raise Malformed("names a storage outside the file")
        self.push(self.persistent(identity))


def _text_integer(text: bytes) -> int | bool:
    return text == b"01" if text in {b"00", b"01"} else int(text)


def _quoted(text: bytes) -> str:
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in {b"'", b'"'}:
        raise Malformed("a string without quotes")
    return codecs.decode(text[1:-1], "unicode_escape")


def _long(data: memoryview) -> int:
    return int.from_bytes(data, "little", signed=True)


_STOP = ord(".")
_Step = Callable[[_Machine], object]
_BY_CODE: dict[str | int, _Step] = {
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
    "L": lambda m: m.push(m.number_in_text()),
    0x8A: lambda m: m.push(_long(m.take(m.number("<B")))),
    0x8B: lambda m: m.push(_long(m.take(m.number("<i")))),
    "F": lambda m: m.push(float(m.line())),
    "G": lambda m: m.push(m.number(">d")),
    "S": lambda m: m.push(_quoted(m.line())),
    "T": lambda m: m.push(str(m.take(m.number("<i")), "latin-1")),
    "U": lambda m: m.push(str(m.take(m.number("<B")), "latin-1")),
    "V": lambda m: m.push(codecs.decode(m.line(), "raw_unicode_escape")),
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
    "g": lambda m: m.push(m.memo[m.number_in_text()]),
    "h": lambda m: m.push(m.memo[m.number("<B")]),
    "j": lambda m: m.push(m.memo[m.number("<I")]),
    "p": lambda m: m.remember(m.number_in_text()),
    "q": lambda m: m.remember(m.number("<B")),
    "r": lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    "c": lambda m: m.name(m.line().decode(), m.line().decode()),
    0x93: lambda m: m.name(*m.top(2)),
    "R": lambda m: m.call(*m.top(2)),
    0x81: lambda m: m.make(*m.top(2)),
    0x92: lambda m: m.make(*m.top(3)[:2]),
    "b": lambda m: m.build(*m.top(2)),
    "P": lambda m: m.refer(m.line().decode()),
    "Q": lambda m: m.refer(*m.top(1)),
}
_STEPS = {ord(code) if isinstance(code, str) else code: step for code, step in _BY_CODE.items()}
"""The instructions of pickle protocols 0 to 5 (Python's pickletools documents them), but for the two that make
instances of old-style classes and those that look up a registry of extensions."""
