"""Taking a file in for upload: only from allowed folders, and only what Extend can read."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from extend_mcp.refusal import CallRefusedError
from extend_mcp.views.untrusted import Label

EXTENSIONS = frozenset({
    "pdf", "png", "jpg", "jpeg", "tiff", "tif", "svg", "heic", "heif", "bmp", "gif", "webp", "psd", "xls", "xlsx",
    "xltm", "xltx", "ods", "docx", "doc", "wpd", "dotx", "odt", "pptx", "ppt", "ppm", "csv", "txt", "html", "xml",
    "rtf", "lis", "md", "eml", "pcx",
})  # fmt: skip
"""What Extend reads (Extend documentation, Supported file types)."""

# The first bytes that a file of this extension must have; a renamed program is found before it is sent.
_BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "png": (b"\x89PNG",),
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "gif": (b"GIF8",),
    "tiff": (b"II*\x00", b"MM\x00*"),
    "tif": (b"II*\x00", b"MM\x00*"),
    "docx": (b"PK",),
    "xlsx": (b"PK",),
    "pptx": (b"PK",),
}
_PDF_WITHIN = 1024


def read_local(path: str, roots: Sequence[Path], most_bytes: int) -> tuple[str, bytes]:
    """Read a file from under an allowed folder.

    Args:
        path: as the model gave it; relative ones are looked for in each folder.
        roots: the allowed folders.
        most_bytes: the largest file that is read.

    Returns:
        Its name and its bytes.

    Raises:
        CallRefusedError: path input is off, or the file is elsewhere, missing, no file, or too large.
    """
    if not roots:
        raise CallRefusedError(
            "path: reading local files is off. The user can allow folders with EXTEND_MCP_FILE_ROOTS."
        )
    located = _locate(path, roots)
    if located is None:
        # Whether something exists outside the allowed folders is nobody's business here.
        allowed = ", ".join(f"{Label(root):200}" for root in roots[:5])
        raise CallRefusedError(f"path: no such file under the allowed folders ({allowed}).")
    base, found = located
    try:
        with os.fdopen(_open(base, found), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CallRefusedError("path: it is not a file any more.")
            if status.st_size > most_bytes:
                raise CallRefusedError(
                    f"path: the file has {status.st_size:,} bytes; at most {most_bytes:,} are uploaded."
                )
            # One byte more than is allowed shows a file that has grown since.
            return found.name, file.read(most_bytes + 1)
    except OSError as error:
        raise CallRefusedError(f"path: the file cannot be read ({error.strerror}).") from None


def _open(base: Path, found: Path) -> int:
    """Open a file below a folder without following links: one that was put there since the check leads nowhere."""
    if os.open not in os.supports_dir_fd:
        # Windows, where making a link takes rights that few have.
        return os.open(found, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    # O_NONBLOCK: a pipe that took the file's place would wait for a writer.
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    *folders, name = found.relative_to(base).parts
    current = os.open(base, reading | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, reading | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
        return os.open(name, reading, dir_fd=current)
    finally:
        os.close(current)


def _locate(path: str, roots: Sequence[Path]) -> tuple[Path, Path] | None:
    """Return the allowed folder and the file below it, both without links; None if there is no such file."""
    for root in roots:
        try:
            base = root.resolve(strict=True)
            # Links are followed before the check, so none leads out of the folder.
            found = (base / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if found.is_relative_to(base) and found.is_file():
            return base, found
    return None


def decode_content(text: str, most_bytes: int) -> bytes:
    """Decode bytes given as base64.

    Raises:
        CallRefusedError: it is no base64, or too large.
    """
    if len(text) * 3 // 4 > most_bytes + 3:
        raise CallRefusedError(f"content_base64: at most {most_bytes:,} bytes are uploaded.")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise CallRefusedError("content_base64: is not base64.") from None


def check_content(name: str, content: bytes, most_bytes: int) -> str:
    """Check a file's type and size before anything is sent.

    Returns:
        Its media type.

    Raises:
        CallRefusedError: Extend could not read it.
    """
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if extension not in EXTENSIONS:
        raise CallRefusedError(
            f"name: {Label(name)} has no extension that Extend reads, such as .pdf, .png, .docx or .txt."
        )
    if not content:
        raise CallRefusedError("The file is empty.")
    if len(content) > most_bytes:
        raise CallRefusedError(f"The file has {len(content):,} bytes; at most {most_bytes:,} are uploaded.")
    beginnings = _BEGINNINGS.get(extension)
    fits = b"%PDF-" in content[:_PDF_WITHIN] if extension == "pdf" else not beginnings or content.startswith(beginnings)
    if not fits:
        raise CallRefusedError(f"The content does not begin like a .{extension} file.")
    return mimetypes.types_map.get(f".{extension}", "application/octet-stream")
