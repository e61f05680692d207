"""Writing a file whole or not at all."""

import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write` on a temporary file beside `path`, flush it to disk and rename it over `path`.

    A reader sees the old file or the new one, never a part. The temporary file is removed on any failure. An OSError
    names `path`, also where `write` made another error of it, as torch.save does of a full disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        with temporary.open("wb", buffering=0) as raw:
            remembered = _RemembersErrors(raw)
            try:
                with io.BufferedWriter(remembered) as file:
                    write(file)
                    file.flush()
                    os.fsync(raw.fileno())
            except Exception as error:
                cause = remembered.error or error
                if not isinstance(cause, OSError) or cause.filename is not None:
                    raise
                raise OSError(cause.errno, cause.strerror, str(path)) from None
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _RemembersErrors(io.RawIOBase):
    """A file that remembers why it could not be written."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically."""
    write_atomically(path, lambda file: file.write(data))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Rewrite a file of JSON lines with those that `keep` says, if it exists; return them.

    A last line that a killed process left incomplete is dropped.
    """
    if not path.exists():
        return []
    whole = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    kept = [line for line in whole if keep(line)]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path` if the block succeeds, and is removed if not.

    Its files are flushed to disk before, as it is trusted whenever it is there. An OSError of that names `path`. What
    killed processes of this host left of such folders is removed; of another host's, nobody here knows who is alive.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    start = f".{path.name}.{_host()}-"
    for other in path.parent.glob(f"{glob.escape(start)}*.tmp"):
        process = other.name.removeprefix(start).removesuffix(".tmp")
        # A killed run may have had this process's number: in a container they are alike.
        if other == temporary or (process.isdecimal() and not Path(f"/proc/{process}").exists()):
            shutil.rmtree(other, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        try:
            _flush(temporary)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush(folder: Path) -> None:
    for place in (*folder.rglob("*"), folder):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_folder(path: Path) -> None:
    """Remove a folder whole or not at all: what a killed process leaves of it goes when `new_folder` makes another."""
    temporary = _beside(path)
    shutil.rmtree(temporary, ignore_errors=True)
    path.replace(temporary)
    shutil.rmtree(temporary)


def _beside(path: Path) -> Path:
    """Return a name that no other process has, nor one of another host or container that writes to the same disk."""
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.tmp")


def _host() -> str:
    """Return what tells this host from others, short: a file's name has 255 bytes at most."""
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:8]


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the only lock on the file `path`, made if need be and removed in the end.

    The kernel frees it when its process dies. Raises BlockingIOError if another process holds it and `wait` is False.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _lock(path, wait=wait)
    while not _is_at(file, path):  # its last holder removed it while this one waited
        file.close()
        file = _lock(path, wait=wait)
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(path: Path, *, wait: bool) -> BinaryIO:
    file = path.open("wb")
    try:
        # A record lock: unlike flock's it is not inherited by workers, which may outlive a killed process.
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        file.close()
        raise
    return file


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Whether another process holds the lock on the file `path`, without taking it even for a moment.

    Never ask of a lock that this process holds: closing the file would free it.
    """
    try:
        with path.open("rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except FileNotFoundError:
        return False
    kind: int = struct.unpack(FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


FLOCK = "hhqqi4x"
"""Linux's struct flock: type, whence, start, length, process."""
