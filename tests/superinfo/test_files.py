"""Files appear whole or not at all, and a lock has one holder."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from superinfo.files import (
    exclusive,
    file_sha256,
    is_held,
    new_folder,
    remove_folder,
    write_atomically,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).parents[2]


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def test_bytes_text_and_json_are_written_as_they_are(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "folder" / "b", b"\x00\n\xff")
    write_text(tmp_path / "t", "Δ é\n")
    write_json(tmp_path / "j", {"b": [1.5, None], "a": "ü"})
    assert (tmp_path / "new" / "folder" / "b").read_bytes() == b"\x00\n\xff"
    assert (tmp_path / "t").read_bytes() == "Δ é\n".encode()
    assert (tmp_path / "j").read_text() == '{\n  "b": [\n    1.5,\n    null\n  ],\n  "a": "\\u00fc"\n}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j", "new", "t"]


def test_json_that_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "j", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    path = tmp_path / "artifact"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"new" * 100_000)
        raise interruption("broken off")

    with pytest.raises(interruption, match="broken off"):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "artifact"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        for _ in range(3):
            file.write(b"new" * 10_000)
            file.flush()
            assert path.read_bytes() == b"old"

    write_atomically(path, write)
    assert path.read_bytes() == b"new" * 30_000


# RLIMIT_FSIZE makes the kernel refuse bytes past a size, as a full disk does, if by another number.
FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from superinfo.files import write_atomically, write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
path = Path(sys.argv[1])
writers = {
    "bytes": lambda file: file.write(bytes(100_000)),
    "in parts": lambda file: [file.write(bytes(1000)) for _ in range(100)],
    "numpy": lambda file: np.save(file, np.zeros(100_000)),
    "torch": lambda file: torch.save({"a": torch.zeros(100_000)}, file),
}
for name, write in writers.items():
    try:
        write_atomically(path, write)
    except OSError as error:
        print(name, error.errno, error.filename, error.__suppress_context__)
"""


def test_a_full_disk_is_an_os_error_that_names_the_file_whoever_writes(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"old")
    printed = run_python(FULL_DISK, path).communicate(timeout=60)[0]
    writers = ("bytes", "in parts", "numpy", "torch")
    assert printed.splitlines() == [f"{name} {errno.EFBIG} {path} True" for name in writers]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_turns_out_full_at_the_last_moment_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_bytes(tmp_path / "artifact", b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "artifact"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_not_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    def write(_: BinaryIO) -> None:
        (tmp_path / "source").read_bytes()

    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(tmp_path / "artifact", write)
    assert caught.value.filename == str(tmp_path / "source")


def test_the_hash_of_a_file_is_what_sha256sum_says(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "set") as temporary:
        (temporary / "a").write_text("a")
        (temporary / "sub").mkdir()
        (temporary / "sub" / "b").write_text("b")
        assert not (tmp_path / "deep" / "set").exists()
    assert (tmp_path / "deep" / "set" / "sub" / "b").read_text() == "b"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set"]


def test_a_new_folder_is_on_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = set()

    def remember(descriptor: int) -> None:
        assert not (tmp_path / "set").exists()
        flushed.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", remember)
    with new_folder(tmp_path / "set") as temporary:
        (temporary / "sub").mkdir()
        for name in ("a", "sub/b"):
            (temporary / name).write_text(name)
    assert flushed == {(tmp_path / "set" / name).stat().st_ino for name in (".", "a", "sub", "sub/b")}


def test_a_disk_that_cannot_hold_a_new_folder_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught, new_folder(tmp_path / "set") as temporary:
        (temporary / "a").write_text("a")
    assert caught.value.filename == str(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_a_new_folder_that_fails_does_not_appear(tmp_path: Path, interruption: type[BaseException]) -> None:
    def make() -> None:
        with new_folder(tmp_path / "set") as temporary:
            (temporary / "a").write_text("a")
            raise interruption

    with pytest.raises(interruption):
        make()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_of_a_new_folder_goes_also_if_this_one_has_its_number(tmp_path: Path) -> None:
    with new_folder(tmp_path / "set") as temporary:
        mine = temporary.name
    (tmp_path / "set").rmdir()
    dead = run_python("")
    dead.wait()
    for name in (mine, of_process(mine, dead.pid)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    with new_folder(tmp_path / "set") as temporary:
        (temporary / "a").write_text("a")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["set", "set/a"]


def of_process(temporary: str, process: int) -> str:
    """Return what another process of this host calls a temporary folder."""
    assert temporary.endswith(f"-{os.getpid()}.tmp")
    return temporary.replace(f"-{os.getpid()}.tmp", f"-{process}.tmp")


def test_what_others_may_be_at_work_on_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk of many hosts, or of containers whose processes have equal numbers; and what versions before left."""
    dead = run_python("")
    dead.wait()
    system = os.uname()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(os, "uname", lambda: os.uname_result(("Linux", "another.host", *system[2:])))
        with new_folder(tmp_path / "set") as temporary:
            others = {temporary.name, of_process(temporary.name, dead.pid)}
    (tmp_path / "set").rmdir()
    with new_folder(tmp_path / "set") as temporary:
        alive = of_process(temporary.name, os.getppid())
    (tmp_path / "set").rmdir()
    stay = {*others, alive, f".set.{dead.pid}.tmp", f".set.x{alive.removeprefix('.set')}"}
    for name in stay:
        (tmp_path / name).mkdir()
    with new_folder(tmp_path / "set") as temporary:
        assert temporary.name not in stay
    assert {path.name for path in tmp_path.iterdir()} == {"set", *stay}


def test_a_name_may_be_long_or_have_a_pattern_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n" * 64, *system[2:])))
    dead = run_python("")
    dead.wait()
    for name in ("s" * 220, "set[1]"):
        with new_folder(tmp_path / name) as temporary:
            left = of_process(temporary.name, dead.pid)
        (tmp_path / name).rmdir()
        (tmp_path / left).mkdir()
        with new_folder(tmp_path / name):
            pass
        assert not (tmp_path / left).exists()


def test_a_new_folder_never_replaces_one_with_files(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("kept")
    with pytest.raises(OSError, match="set"), new_folder(tmp_path / "set") as temporary:
        (temporary / "a").write_text("a")
    assert (tmp_path / "set" / "mine").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_is_being_removed_is_not_there_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set" / "sub").mkdir(parents=True)
    (tmp_path / "set" / "sub" / "a").write_text("a")
    rmtree = shutil.rmtree

    def killed(path: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise KeyboardInterrupt
        rmtree(path, ignore_errors=True)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(tmp_path / "set")
    assert not (tmp_path / "set").exists()
    with new_folder(tmp_path / "set"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    remove_folder(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


HOLD = """
import os, sys, time
from pathlib import Path
from superinfo.files import exclusive
with exclusive(Path(sys.argv[1]), wait=False):
    if sys.argv[2:] and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_holder(lock: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock; end it, and all that it started, in the end."""
    command = [sys.executable, "-c", HOLD, str(lock), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            with suppress(ProcessLookupError):
                os.killpg(holder.pid, signal.SIGKILL)


def test_a_lock_has_one_holder_and_is_free_again_when_that_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / ".lock"
    with another_holder(lock) as holder:
        with pytest.raises(BlockingIOError), exclusive(lock, wait=False):
            pass
        holder.kill()
        holder.wait()
        with exclusive(lock, wait=False):
            pass


def test_a_worker_that_outlives_a_killed_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with another_holder(lock, "with a worker") as holder:
        holder.kill()
        holder.wait()
        with exclusive(lock, wait=False):
            pass


def test_a_lock_that_is_let_go_can_be_taken_again(tmp_path: Path) -> None:
    for wait in (True, False, True):
        with exclusive(tmp_path / ".lock", wait=wait):
            pass


def test_a_lock_leaves_no_file_and_who_waited_for_it_holds_it_alone(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock, wait=False):
        waiting = run_python(
            "import sys; from pathlib import Path; from superinfo.files import exclusive\n"
            "print('asked', flush=True)\n"
            "with exclusive(Path(sys.argv[1]), wait=True):\n"
            "    print('mine', flush=True); input()",
            lock,
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "asked\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
    assert waiting.stdout.readline() == "mine\n"
    with pytest.raises(BlockingIOError), exclusive(lock, wait=False):
        pass
    assert waiting.communicate("\n", timeout=20)[0] == ""
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_a_lock_ends_when_its_holder_does(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with another_holder(lock) as holder:
        waiting = run_python(
            "import sys; from pathlib import Path; from superinfo.files import exclusive\n"
            "print('asked', flush=True)\n"
            "with exclusive(Path(sys.argv[1]), wait=True): print('mine')",
            lock,
        )
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "asked\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.3)
        holder.kill()
        assert waiting.communicate(timeout=20)[0] == "mine\n"


def test_who_asks_whether_a_lock_is_held_neither_takes_nor_frees_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_held(lock)
    assert not lock.exists()
    with another_holder(lock):
        assert [is_held(lock), is_held(lock)] == [True, True]
        with pytest.raises(BlockingIOError), exclusive(lock, wait=False):
            pass
    assert not is_held(lock)
