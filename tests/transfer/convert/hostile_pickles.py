"""Pickles that call, in every way of writing a call, and small ones of which a careless reader makes much."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.transfer.convert.hostile_parts import (
    NUMPY,
    File,
    Kit,
    array,
    before,
    beside,
    called,
    dtype,
    literal,
    long,
    mapping,
    named,
    pickled,
    stack_named,
    storage,
    tensor,
    text,
    torch_zip,
    with_legacy_pickle,
    with_pickle,
)


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


def unwritten() -> Iterator[tuple[str, bytes]]:
    """What is data here, and what Python's own unpickler, or NumPy, would break on or make much of."""
    fields = b"(K\x03" + text("|") + b"N" + literal(("f",)) + b"}" + text("f") + dtype("O", "|") + b"K\x00\x86s"
    objects = b"K\x08K\x01K\x01tb"
    void, number = (called("numpy", "dtype", code, False, True) + fields + objects for code in ("V8", "f8"))
    yield "a void of objects", array((1,), b"A" * 8, void)
    yield "a void of objects that no array has", void
    yield "a number of objects", array((1,), b"A" * 8, number)
    yield "an array of objects", array(kind=dtype("O8", "|")).replace(b"B" + struct.pack("<I", 16) + bytes(16), b"]")
    yield "an array of texts", array(kind=dtype("U4"))
    yield "numbers in a list", array().replace(b"B" + struct.pack("<I", 16) + bytes(16), literal([1.0] * 4))
    yield "a dtype that is shared", called("numpy", "dtype", "f4", False, False)
    yield "an empty array of 32 GB", array().replace(literal((0,)), literal((2**32,)), 1)
    yield "an empty array of another class", array().replace(named("numpy", "ndarray"), named("numpy", "dtype"), 1)
    yield "a dictionary's attributes", named("collections", "OrderedDict") + b")R" + literal({"items": 1}) + b"b"
    yield "memo at 2 billion", b"Nr\xff\xff\xff\x7f"
    yield "bytearray of 3 GB", called("builtins", "bytearray", 3_000_000_000)
    yield "a stand-in", called("superinfo_stranger", "Config")
    yield "a random state", called(NUMPY, "scalar", 1)
    yield "a set", called("builtins", "set", [1])
    yield "a number of another storage", named("torch", "HalfStorage")


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
