"""Downloads: whole or not at all, readable by others, and what fails says what to do."""

import hashlib
import os
import socket
import threading

import pytest

from bcnet_lib import DataError
from bcnet_lib.files import fetch

BODY = b"the file"
SHA256 = hashlib.sha256(BODY).hexdigest()
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + BODY


@pytest.fixture
def serve():
    """A server that answers once, with these bytes, and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(content: bytes) -> str:
        def run():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(content)

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/file"

    with listener:
        yield answer


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=["cut short", "no HTTP", "not found", "hung up"],
)
def test_a_broken_download_says_what_to_do_and_keeps_what_there_was(serve, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(DataError, match=f"download of 'file' from http.* failed .*at '{path}' by"):
        fetch(serve(content), path, SHA256, timeout=5.0)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_a_download_has_the_permissions_of_any_new_file(serve, tmp_path):
    before = os.umask(0o027)
    try:
        path = fetch(serve(WHOLE), tmp_path / "folder" / "file", SHA256)
    finally:
        os.umask(before)
    assert path.read_bytes() == BODY and path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_places_that_cannot_be_written_to_are_known_before_the_download(tmp_path):
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "taken" / "file", tmp_path / "folder"):
        with pytest.raises(DataError, match=f"cannot write to '{path}' .*set BCNET_DATA to a fold"):
            fetch("http://asked.invalid/", path, SHA256)
    if os.path.isdir("/proc/self"):
        with pytest.raises(DataError, match="cannot write to '/proc/bcnet/file'"):
            fetch("http://asked.invalid/", tmp_path.__class__("/proc/bcnet/file"), SHA256)
