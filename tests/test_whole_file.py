"""Files are there whole or not at all; links, pipes and devices stay what they are."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from sparsec.whole_file import whole_file, write_files


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)


def _fail(path: Path, failure: BaseException) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise failure


def test_a_file_takes_the_place_of_another_with_the_usual_rights(tmp_path: Path) -> None:
    path = tmp_path / "a b é"
    path.write_bytes(b"old")
    mask = os.umask(0o027)
    try:
        _write(path, b"new")
    finally:
        os.umask(mask)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: BaseException) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(failure)):
        _fail(tmp_path / "a", failure)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_of_several_files_one_failure_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "out" / "folder").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="folder"):
        write_files(tmp_path / "out", {"a": b"a", "folder": b"b"})
    assert os.listdir(tmp_path / "out") == ["folder"]
    write_files(tmp_path / "new", {"a": b"a", "b": b"b"})
    assert sorted(os.listdir(tmp_path / "new")) == ["a", "b"]


def test_the_longest_name_that_a_file_may_have(tmp_path: Path) -> None:
    _write(tmp_path / ("n" * 255), b"new")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("there", [False, True])
def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "folder").mkdir()
    link, place = tmp_path / "link", tmp_path / "folder" / "place"
    link.symlink_to(Path("folder") / "place")
    if there:
        place.write_bytes(b"old")
    _write(link, b"new")
    assert link.is_symlink()
    assert place.read_bytes() == b"new"


def test_a_pipe_is_sent_the_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with whole_file(tmp_path / "pipe") as file:
        file.write(b"wrong")
        file.seek(0)  # as writers of zips do
        file.write(b"right")
    reader.join()
    assert read == [b"right"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # one of our own: who is root replaces the system's
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("only root makes devices, and not everywhere")
    _write(device, b"new")
    assert device.is_char_device()


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _write(tmp_path / "nowhere" / "a", b"")
