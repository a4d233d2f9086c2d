"""Text files: what is read, where reading continues, and what is said of a broken file (see also test_bad_input)."""

import bz2
import errno
import gzip
import lzma
import os
from pathlib import Path

import pytest

from kelm.data import files
from kelm.errors import FormatError

TEXT = "first\nsecond line\r\n\nsome\u2028one ﬁne 日本\nlast without end"
LINES = ["first", "second line", "", "some\u2028one ﬁne 日本", "last without end"]


def zstandard(data: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd")
    return bytes(zstd.compress(data))


WRITERS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard,
}


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    path = tmp_path / f"corpus.txt{kind}"
    path.write_bytes(WRITERS[kind](TEXT.encode()))
    return path


def test_plain_and_compressed_files_give_the_same_lines(path: Path) -> None:
    assert list(files.lines(path)) == list(enumerate(LINES, start=1))


@pytest.mark.parametrize("written", list(WRITERS)[1:])
@pytest.mark.parametrize("name", ["corpus", "corpus.txt", "corpus.gz", "corpus.bz2"])
def test_compression_is_seen_by_content_not_by_name(written: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(WRITERS[written](TEXT.encode()))
    assert [text for _, text in files.lines(tmp_path / name)] == LINES


def test_a_text_may_begin_like_bzip2(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"BZh9 is how bzip2 begins\n")
    assert list(files.lines(tmp_path / "a.txt")) == [(1, "BZh9 is how bzip2 begins")]


def test_the_open_file_tells_how_far_reading_is(kind: str, path: Path) -> None:
    with files.opened(path) as (file, raw):
        assert file.read().decode() == TEXT
        assert raw.tell() == path.stat().st_size
        assert (file is raw) == (not kind)


def test_a_disk_that_fails_is_no_damage_of_the_content(tmp_path: Path) -> None:
    error = files.damage(OSError(errno.EIO, os.strerror(errno.EIO)), tmp_path / "a.gz", 7)
    assert (
        str(error) == f"{tmp_path}/a.gz, line 7: cannot be read on: Input/output error. Check the disk, or the "
        "connection to it."
    )
    assert files.damage(KeyError("x"), tmp_path / "a.gz", 7) is None


def test_reading_continues_after_any_line(path: Path) -> None:
    whole = list(files.read(path))
    for line in whole:
        rest = list(files.read(path, number=line.number, byte=line.end))
        assert rest == whole[line.number :]


def test_a_byte_order_mark_is_not_part_of_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello\n\xef\xbb\xbfkept\n")
    assert list(files.lines(tmp_path / "a.txt")) == [(1, "hello"), (2, "\ufeffkept")]


def test_a_compressed_stream_of_several_members_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one\ntw") + gzip.compress(b"o\n"))
    assert [text for _, text in files.lines(tmp_path / "a.gz")] == ["one", "two"]


def test_a_missing_file_has_no_fingerprint(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(FormatError, match=r"cannot be opened: .* Give the path of a file that exists"):
            files.fingerprint(path)


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 10)
    (tmp_path / "a.txt").write_bytes(b"123456789\n" + b"x" * 11)
    with pytest.raises(FormatError, match=r"a\.txt, line 2: the line is longer"):
        list(files.lines(tmp_path / "a.txt"))


def test_the_fingerprint_follows_the_content_and_not_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for path in (a, b):
        path.write_bytes(b"x" * 200_000)
    assert files.fingerprint(a) == files.fingerprint(b)
    monkeypatch.setattr(files, "_WHOLE", 1000)  # now by blocks
    assert files.fingerprint(a) == files.fingerprint(b)
    b.write_bytes(b"x" * 199_999 + b"y")
    assert files.fingerprint(a) != files.fingerprint(b)
