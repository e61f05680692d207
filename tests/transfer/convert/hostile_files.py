"""All families of files that must be refused, and those of them that are neither damage nor pickles.

A family yields files that must be refused whatever the rest of them says; the corruptions among them change what no
reader may overlook. Each payload would leave a file behind if it were run.
"""

import gzip
import io
import itertools
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torchvision
from PIL import Image

from tests.transfer.convert.hostile_damage import (
    corrupt_legacy,
    corrupt_pickles,
    corrupt_safetensors,
    corrupt_zips,
    cut_legacy,
    cut_pickles,
    cut_safetensors,
    cut_zips,
    flipped_zips,
    holed_zips,
    lying_safetensors,
    patched,
    random_bytes,
)
from tests.transfer.convert.hostile_parts import (
    INFO,
    NUMPY,
    File,
    Kit,
    array,
    called,
    dtype,
    literal,
    long,
    mapping,
    named,
    pickled,
    records_of,
    saved,
    stack_named,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    zip_of,
)
from tests.transfer.convert.hostile_pickles import amplifiers, bombs, calling_pickles, written_pickles


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
