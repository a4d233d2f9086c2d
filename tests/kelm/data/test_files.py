"""Text files: what is read, where reading continues, and what is said of a broken file (see also test_bad_input)."""

import bz2
import gzip
from pathlib import Path

import pytest

from kelm.data import files
from kelm.errors import FormatError

TEXT = "first\nsecond line\r\n\nsome\u2028one ﬁne 日本\nlast without end"
LINES = ["first", "second line", "", "some\u2028one ﬁne 日本", "last without end"]


def zstandard(data: bytes) -> bytes:
    zstd = pytest.importorskip("backports.zstd")
    return bytes(zstd.compress(data))


WRITERS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstandard}


@pytest.fixture(params=WRITERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"corpus.txt{request.param}"
    path.write_bytes(WRITERS[request.param](TEXT.encode()))
    return path


def test_plain_and_compressed_files_give_the_same_lines(path: Path) -> None:
    assert list(files.lines(path)) == list(enumerate(LINES, start=1))


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
