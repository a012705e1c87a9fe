"""Local files in allowed folders: reading one for upload, if Extend can read it, and opening a folder to write to."""

from __future__ import annotations

import base64
import mimetypes
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from extend_mcp.refusal import CallRefusedError
from extend_mcp.views.untrusted import Label

EXTENSIONS = frozenset({
    "pdf", "png", "jpg", "jpeg", "tiff", "tif", "svg", "heic", "heif", "bmp", "gif", "webp", "psd", "xls", "xlsx",
    "xltm", "xltx", "ods", "docx", "doc", "wpd", "dotx", "odt", "pptx", "ppt", "ppm", "csv", "txt", "html", "xml",
    "rtf", "lis", "md", "eml", "pcx",
})  # fmt: skip
"""File types that Extend reads (Extend documentation, Supported file types)."""

# The first bytes that a file of this extension must have; a renamed program is found before it is sent.
_BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "png": (b"\x89PNG",),
    "gif": (b"GIF8",),
    **dict.fromkeys(("jpg", "jpeg"), (b"\xff\xd8\xff",)),
    **dict.fromkeys(("tiff", "tif"), (b"II*\x00", b"MM\x00*")),
    **dict.fromkeys(("docx", "xlsx", "pptx"), (b"PK",)),
}
_PDF_WITHIN = 1024


def read_local(path: str, roots: Sequence[Path], most_bytes: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a file under an allowed folder; a relative path is looked for in each."""
    if not roots:
        raise CallRefusedError(
            "path: reading local files is off. The user can allow folders with EXTEND_MCP_FILE_ROOTS."
        )
    located = locate(path, roots, Path.is_file)
    if located is None:
        # Whether something exists outside the allowed folders is nobody's business here.
        allowed = ", ".join(f"{Label(root):200}" for root in roots[:5])
        raise CallRefusedError(f"path: no such file under the allowed folders ({allowed}).")
    base, found = located
    try:
        # O_NONBLOCK: a pipe that took the file's place would wait for a writer.
        with (
            opened_folder(base, found.parent) as folder,
            os.fdopen(folder.open(found.name, os.O_RDONLY | _NONBLOCK), "rb") as file,
        ):
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CallRefusedError("path: it is not a file any more.")
            # One byte more than is allowed shows that it is too long.
            return found.name, file.read(most_bytes + 1)
    except OSError as error:
        raise CallRefusedError(f"path: the file cannot be read ({error.strerror}).") from None


_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
_ALWAYS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class Folder:
    """A folder below an allowed one, held open so that nothing can take its place.

    ``handle`` is its descriptor, or None on Windows, where making a link takes rights that few have.
    """

    path: Path
    handle: int | None

    def _place(self, name: str) -> str | Path:
        return self.path / name if self.handle is None else name

    def open(self, name: str, flags: int) -> int:
        """Open a file in it and return the descriptor; a link is not followed. A new file is the user's alone."""
        return os.open(self._place(name), flags | _ALWAYS, 0o600, dir_fd=self.handle)

    def holds(self, name: str) -> bool:
        """Return whether it has something of this name, a broken link included."""
        with suppress(FileNotFoundError):
            os.stat(self._place(name), dir_fd=self.handle, follow_symlinks=False)
            return True
        return False

    def remove(self, name: str) -> None:
        """Remove a file from it."""
        os.unlink(self._place(name), dir_fd=self.handle)


@contextmanager
def opened_folder(base: Path, path: Path) -> Iterator[Folder]:
    """Open a folder below ``base`` without following links: one that was put there since a check leads nowhere."""
    if os.open not in os.supports_dir_fd:
        yield Folder(path, None)
        return
    reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_DIRECTORY
    current = os.open(base, reading)
    try:
        for part in path.relative_to(base).parts:
            inner = os.open(part, reading, dir_fd=current)
            os.close(current)
            current = inner
        yield Folder(path, current)
    finally:
        os.close(current)


def locate(path: str, roots: Sequence[Path], fits: Callable[[Path], bool]) -> tuple[Path, Path] | None:
    """Return the allowed folder, and what fits at a path at or below it, both without links; None if nothing does."""
    for root in roots:
        try:
            base = root.resolve(strict=True)
            # Links are followed before the check, so none leads out of the folder.
            found = (base / path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if found.is_relative_to(base) and fits(found):
            return base, found
    return None


def decode_content(text: str) -> bytes:
    """Decode bytes given as base64, or refuse them."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise CallRefusedError("content_base64: is not base64.") from None


def check_content(name: str, content: bytes, most_bytes: int) -> str:
    """Return a file's media type, or refuse what Extend could not read before anything is sent."""
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if extension not in EXTENSIONS:
        raise CallRefusedError(
            f"name: {Label(name)} has no extension that Extend reads, such as .pdf, .png, .docx or .txt."
        )
    if not content:
        raise CallRefusedError("The file is empty.")
    if len(content) > most_bytes:
        raise CallRefusedError(f"The file is too long; at most {most_bytes:,} bytes are uploaded.")
    beginnings = _BEGINNINGS.get(extension)
    fits = b"%PDF-" in content[:_PDF_WITHIN] if extension == "pdf" else not beginnings or content.startswith(beginnings)
    if not fits:
        raise CallRefusedError(f"The content does not begin like a .{extension} file.")
    return mimetypes.types_map.get(f".{extension}", "application/octet-stream")
