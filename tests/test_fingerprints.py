"""Fingerprints: they follow content and not time, and nothing is read a second time."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eolab.core.errors import DataError
from eolab.data import fingerprints
from eolab.data.fingerprints import Taken, fingerprint, fingerprint_files, remembered, take


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EOLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five files in two folders, changed an hour ago."""
    home = tmp_path / "data set"
    for n in range(5):
        file = home / f"part {n % 2}" / f"{n}.tif"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([n]) * 100)
        settle(file)
    return home


def settle(file: Path, hours: int = 1) -> None:
    changed = file.stat().st_mtime - 3600 * hours
    os.utime(file, (changed, changed))


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    taken = fingerprints._of_file

    def counted(path: str) -> str:
        names.append(Path(path).name)
        return taken(path)

    monkeypatch.setattr(fingerprints, "_of_file", counted)
    return names


def test_fingerprint_follows_content_and_not_time(tmp_path):
    scene = tmp_path / "scene"
    scene.mkdir()
    (scene / "a.jp2").write_bytes(b"one")
    single = tmp_path / "b.tif"
    single.write_bytes(b"x" * (9 << 20))
    first = fingerprint_files([scene, single])
    assert set(first) == {"scene", "b.tif"}
    (scene / "a.jp2").write_bytes(b"one")
    assert fingerprint_files([single, scene]) == first
    (scene / "a.jp2").write_bytes(b"two")
    single.write_bytes(b"x" * ((9 << 20) - 1) + b"y")
    second = fingerprint_files([scene, single])
    assert second["scene"] != first["scene"]
    assert second["b.tif"] != first["b.tif"]
    with pytest.raises(DataError, match="does not exist"):
        fingerprint_files(tmp_path / "c")


def test_a_change_in_the_middle_of_a_large_file_is_seen_and_a_time_counts_nothing(tmp_path):
    """With the size unchanged: files above 8 MiB counted with their first and last MiB alone."""
    (tmp_path / "a").write_bytes(b"x" * 9_000_000)
    first = fingerprint(tmp_path / "a")
    os.utime(tmp_path / "a", (0, 0))
    assert fingerprint(tmp_path / "a") == first
    (tmp_path / "a").write_bytes(b"x" * 4_500_000 + b"y" + b"x" * 4_499_999)
    assert fingerprint(tmp_path / "a") != first


def test_a_single_file_is_read_once(folder, read):
    file = folder / "part 0" / "0.tif"
    assert fingerprint(file) == fingerprint(file)
    assert read == ["0.tif"]


def test_the_fingerprint_is_that_of_names_sizes_and_contents(folder):
    """Worked out by hand, so that results of before keep their fingerprint."""
    digest = hashlib.sha256()
    for name in ("part 0/0.tif", "part 0/2.tif", "part 0/4.tif", "part 1/1.tif", "part 1/3.tif"):
        content = (folder / name).read_bytes()
        digest.update(f"{name}\0{hashlib.sha256(b'100' + content).hexdigest()[:32]}\n".encode())
    assert take(folder) == Taken(digest.hexdigest()[:32], 5, 500)


def test_files_below_a_link_to_a_folder_count(folder, tmp_path, read):
    """Products that are linked into a data set were left out, and their changes with them."""
    elsewhere = tmp_path / "archive"
    elsewhere.mkdir()
    (elsewhere / "a.tif").write_bytes(b"a")
    first = fingerprint(folder)
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder)  # leads back
    second = fingerprint(folder)
    assert second != first
    assert take(folder).files == 6
    (elsewhere / "a.tif").write_bytes(b"b")
    assert fingerprint(folder) != second


def test_what_file_managers_leave_is_no_data(folder):
    first = fingerprint(folder)
    for name in ("._0.tif", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    assert fingerprint(folder) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_ends_in_a_sentence(folder):
    (folder / "part 0" / "0.tif").chmod(0)
    with pytest.raises(DataError, match=r"0\.tif cannot be read \(Permission denied\)"):
        fingerprint(folder)


def test_a_command_lists_a_large_data_set_once(folder, monkeypatch):
    """Only where it says since when a listing holds; a small one is listed each time."""
    listed: list[Path] = []
    walk = fingerprints._files
    monkeypatch.setattr(fingerprints, "_files", lambda path: (listed.append(path), walk(path))[1])
    fingerprint(folder)
    listed.clear()
    monkeypatch.setenv("EOLAB_LISTED_SINCE", "1")
    fingerprint(folder)
    assert len(listed) == 1
    monkeypatch.setattr(fingerprints, "MANY", 4)
    assert take(folder).files == 5
    assert len(listed) == 1
    monkeypatch.setenv("EOLAB_LISTED_SINCE", str(time.time_ns() + 10**9))
    fingerprint(folder)
    assert len(listed) == 2


def test_a_notebook_lists_a_large_data_set_once_each_time_that_it_begins(folder, monkeypatch):
    """BigEarthNet's eight million files were listed three times by each `02_preprocess`, a minute each."""
    listed: list[Path] = []
    walk = fingerprints._files
    monkeypatch.delenv("EOLAB_LISTED_SINCE", raising=False)
    monkeypatch.setattr(fingerprints, "_begun", [])
    monkeypatch.setattr(fingerprints, "_files", lambda path: (listed.append(path), walk(path))[1])
    fingerprints.begin()
    fingerprint(folder)
    listed.clear()
    fingerprint(folder)
    assert len(listed) == 1, "a small one is listed each time"
    monkeypatch.setattr(fingerprints, "MANY", 4)
    fingerprint(folder)
    assert len(listed) == 1
    fingerprints.begin()
    fingerprint(folder)
    fingerprint(folder)
    assert len(listed) == 2
    fingerprints._begun.clear()
    fingerprint(folder)
    assert len(listed) == 3, "outside of a notebook it is listed each time"


def test_a_folder_is_read_once(folder, read):
    first = fingerprint(folder)
    assert sorted(read) == [f"{n}.tif" for n in range(5)]
    assert fingerprint(folder) == first
    assert len(read) == 5


def test_only_what_is_new_or_changed_is_read_again(folder, read, cache, monkeypatch):
    fingerprint(folder)
    read.clear()
    (folder / "part 0" / "0.tif").write_bytes(b"z" * 100)
    settle(folder / "part 0" / "0.tif", 2)
    (folder / "new.tif").write_bytes(b"n")
    (folder / "part 1" / "1.tif").unlink()
    found = fingerprint(folder)
    assert sorted(read) == ["0.tif", "new.tif"]
    monkeypatch.setenv("EOLAB_CACHE", str(cache / "other"))
    assert fingerprint(folder) == found  # the same as one that remembers nothing


def test_a_copy_elsewhere_has_the_same_fingerprint(folder, tmp_path):
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == fingerprint(folder)


def test_a_file_that_has_just_changed_is_not_trusted(folder, read):
    """A change within one tick of the clock leaves size and time as they were."""
    file = folder / "part 0" / "0.tif"
    file.write_bytes(b"a" * 100)
    changed = file.stat()
    first = fingerprint(folder)
    file.write_bytes(b"b" * 100)
    os.utime(file, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert fingerprint(folder) != first


@pytest.mark.parametrize("content", ["", "nonsense", "unsettled x\nfew words"])
def test_a_damaged_memory_is_replaced(folder, read, cache, content):
    first = fingerprint(folder)
    (memory,) = cache.iterdir()
    memory.write_text(content)
    assert fingerprint(folder) == first
    read.clear()
    assert fingerprint(folder) == first
    assert not read


def test_where_nothing_can_be_remembered_it_is_taken_again(folder, read, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EOLAB_CACHE", str(tmp_path / "file" / "cache"))
    assert fingerprint(folder) == fingerprint(folder)
    assert len(read) == 10


def test_what_is_made_of_unchanged_files_is_made_once(folder, cache):
    made: list[int] = []

    def make() -> list[int]:
        made.append(len(made))
        return made[-1:]

    def ask() -> list[int]:
        return remembered("numbers", folder, [*sorted(folder.glob("*/*.tif")), folder / "absent"], make)

    assert ask() == ask() == [0]
    settle(folder / "part 0" / "0.tif")
    assert ask() == ask() == [1]  # another time
    next((cache / "private").iterdir()).write_bytes(b"no pickle")
    assert ask() == ask() == [2]
    (folder / "part 0" / "0.tif").write_bytes(b"new")
    assert ask() == [3]
    assert ask() == [4]  # changed just now: not trusted yet


def test_two_notebooks_side_by_side_make_what_is_remembered_once(folder, cache):
    """The first two notebooks of a study read the headers of all products at once, each for itself."""
    made, barrier = [], threading.Barrier(3)

    def make() -> int:
        time.sleep(0.3)
        made.append(1)
        return len(made)

    def ask(_: int) -> int:
        barrier.wait()
        return remembered("headers", folder, sorted(folder.glob("*/*.tif")), make)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, range(3))) == [1, 1, 1]
    assert [file.suffix for file in (cache / "private").iterdir()] == [".pickle"]


def test_what_was_made_is_returned_though_its_lock_cannot_be_removed(folder, cache, monkeypatch):
    """Windows removes no file that is open."""

    def refuse(path, **_):
        raise PermissionError(13, "in use", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        assert remembered("headers", folder, sorted(folder.glob("*/*.tif")), lambda: 1) == 1
    assert remembered("headers", folder, sorted(folder.glob("*/*.tif")), lambda: 1) == 1


def test_a_file_name_that_is_no_utf_8_is_part_of_the_fingerprint(tmp_path):
    """The fingerprint of a folder with a Latin-1 name ended in a UnicodeEncodeError."""
    (tmp_path / "a").mkdir()
    file = os.fsdecode(os.fsencode(tmp_path / "a") + b"/K\xf6ln.tif")
    with open(file, "wb") as written:
        written.write(b"1")
    os.utime(file, (1e9, 1e9))
    first = fingerprint(tmp_path / "a")
    assert fingerprint(tmp_path / "a") == first  # remembered
    with open(file, "wb") as written:
        written.write(b"2")
    assert fingerprint(tmp_path / "a") != first
