"""Files from strangers are refused in one line, with nothing run or written."""

import codecs
import functools
import hashlib
import itertools
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import safetensors.torch
import torch

from superinfo.artifacts import CONVERSION, OVERLAY, WEIGHTS, CheckpointInfo, Conversion, EncoderSpec
from superinfo.encoders import build_encoder
from superinfo.errors import EvidenceRefused, SuperInfoError, UserError
from superinfo.files import file_sha256
from superinfo.runs import peak_memory_mib, reset_peak_memory
from tests.transfer.convert.hostile_damage import with_header
from tests.transfer.convert.hostile_files import FAMILIES
from tests.transfer.convert.hostile_parts import (
    INFO,
    SPAWNS,
    File,
    Kit,
    array,
    before,
    beside,
    called,
    literal,
    mapping,
    named,
    pickled,
    records_of,
    saved,
    spawning,
    storage,
    tensor,
    text,
    with_legacy_pickle,
    with_pickle,
    zip_of,
)
from tests.transfer.convert.hostile_pickles import payloads, unwritten
from transfer.convert import convert
from transfer.convert.export import load_reading
from transfer.convert.formats import open_checkpoint
from transfer.convert.inspection import inspect, render
from transfer.convert.recognition import read_encoder
from transfer.convert.resnet import to_detectron2
from transfer.convert.targets import TARGETS
from transfer.convert.verify import verify

HANGS_AFTER = 20
"""Seconds; each file takes milliseconds."""
LONGEST_LINE = 300
"""Characters, path included if it is short."""


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
    state = {key: values for key, values in safetensors.torch.load(kit.safetensors).items() if values.dim()}
    flat, start = torch.cat([values.flatten() for values in state.values()]), 0
    for key, values in state.items():
        state[key] = flat[start : start + values.numel()].view(values.shape)
        start += values.numel()
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


def test_a_converted_folder_of_a_stranger_runs_nothing(kit: Kit, tmp_path: Path) -> None:
    """Detectron2's own loader unpickles whatever there is: nothing that is not the evidence's may come to it."""
    (tmp_path / "checkpoint.pth").write_bytes(kit.own)
    out = convert(tmp_path / "checkpoint.pth", tmp_path / "out")
    mark = str(tmp_path / "was_run")
    weights, good = out / WEIGHTS, (out / WEIGHTS).read_bytes()
    entries = [
        called(SPAWNS, "SubprocessHandler", *spawning(mark)),
        called("os", "system", f"touch {mark}"),
        called("superinfo_stranger", "Config"),
    ]
    for entry, place in itertools.product(entries, (beside, before)):
        weights.write_bytes(place(good, entry))
        speak_of(out, weights)
        assert OVERLAY in Conversion.read(out / CONVERSION).files
        with pytest.raises(SuperInfoError) as caught:
            inspect(out)
        assert caught.value.exit_code in {2, 3}
        assert str(caught.value).isprintable()
    time.sleep(0.2)  # a process that was started would need so long
    assert not Path(mark).exists()


@pytest.mark.parametrize("label", dict(unwritten()))
def test_what_no_converted_file_has_does_not_come_to_another_unpickler(tmp_path: Path, label: str) -> None:
    """Also where it is made and thrown away: it is made all the same."""
    path = tmp_path / WEIGHTS
    path.write_bytes(pickled(dict(unwritten())[label] + b"0" + mapping({"x": array()})))
    assert open_checkpoint(path).content["x"].read().tolist() == [0, 0, 0, 0]
    with pytest.raises(UserError, match=r"refused, nothing was run|no converted file .*; convert anew$"):
        open_checkpoint(path, strangers=False)


def test_a_void_of_objects_is_what_numpy_breaks_on(tmp_path: Path) -> None:
    """So that a refusal proves something."""
    (tmp_path / "x.pkl").write_bytes(pickled(dict(unwritten())["a void of objects"]))
    program = f"import pickle; print(pickle.load(open({str(tmp_path / 'x.pkl')!r}, 'rb')))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode < 0


def say_another_name(content: dict[str, Any]) -> None:
    content["superinfo"]["name"] = "other"


def take_the_author_for_caffe2(content: dict[str, Any]) -> None:
    content["__author__"] = "Caffe2"


def match_no_keys(content: dict[str, Any]) -> None:
    content["matching_heuristics"] = False


def add_a_part(content: dict[str, Any]) -> None:
    content["trainer"] = 1


def add_a_text(content: dict[str, Any]) -> None:
    content["model"]["readme"] = "text"


def number_a_tensor(content: dict[str, Any]) -> None:
    content["model"][7] = content["model"]["stem.conv1.weight"]


def lose_the_model(content: dict[str, Any]) -> None:
    content["model"] = []


@pytest.mark.parametrize("target", ["detectron2", "detectron2-pth"])
@pytest.mark.parametrize(
    "change",
    [
        say_another_name,
        take_the_author_for_caffe2,
        match_no_keys,
        add_a_part,
        add_a_text,
        number_a_tensor,
        lose_the_model,
    ],
)
def test_a_converted_file_holds_nothing_but_what_its_evidence_speaks_of(
    kit: Kit, tmp_path: Path, target: str, change: Callable[[dict[str, Any]], None]
) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(kit.own)
    out = convert(tmp_path / "checkpoint.pth", tmp_path / "out", target)
    weights = out / TARGETS[target].weights
    pickles = weights.suffix == ".pkl"
    content = pickle.loads(weights.read_bytes()) if pickles else torch.load(weights, weights_only=True)
    change(content)
    weights.write_bytes(pickle.dumps(content, protocol=4) if pickles else saved(content))
    speak_of(out, weights)
    with pytest.raises(EvidenceRefused, match=re.escape(str(weights))):
        verify(out)


def speak_of(folder: Path, weights: Path) -> None:
    """Have the evidence of a converted folder give the hash that a file has now."""
    said = json.loads((folder / CONVERSION).read_text())
    said["files"][weights.name] = file_sha256(weights)
    (folder / CONVERSION).write_text(json.dumps(said))


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", "a/b", "a\nsuperinfo: all is well", "\x1b[2J", ".."])
def test_a_name_in_a_checkpoint_leads_nowhere(
    kit: Kit, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs of its detectors are folders of that name; the terminal shows it."""
    from transfer.detection.detect import record_path
    from transfer.detection.weights import who_starts
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
