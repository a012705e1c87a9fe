"""Operations on files (Extend API reference, Files)."""

from collections.abc import AsyncIterator, Awaitable, Callable

from pydantic import SecretStr

from extend_mcp.api.models import Deleted, File, FileSummary, Page
from extend_mcp.api.session import Query, Session, path_segment

Progress = Callable[[int, int], Awaitable[None]]
"""Told after each piece: bytes sent, bytes in all."""


class FileCalls(Session):
    """Upload, read, list and delete files."""

    async def upload_file(
        self,
        name: str,
        content: bytes,
        *,
        content_type: str,
        convert_to_pdf: bool | None = None,
        password: SecretStr | None = None,
        on_progress: Progress | None = None,
    ) -> File:
        """Upload a file (`POST /files/upload`, multipart).

        Args:
            name: Its name, with the extension that tells Extend its type.
            content: Its bytes.
            content_type: Its media type.
            convert_to_pdf: Whether Extend shall make a PDF of it.
            password: Opens it, if it is protected.
            on_progress: Awaited after each piece that was sent.
        """
        import httpx

        # httpx knows how to write a multipart body; sending its pieces ourselves lets progress be told.
        form = httpx.Request(
            "POST",
            "http://form.invalid",
            files={"file": (name, content, content_type)},
            data={"password": password.get_secret_value()} if password else None,
        )
        body = form.read()

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(body), _PIECE):
                piece = body[at : at + _PIECE]
                yield piece
                if on_progress:
                    await on_progress(at + len(piece), len(body))

        headers = {"Content-Type": form.headers["Content-Type"], "Content-Length": str(len(body))}
        document = await self.call(
            "POST", "/files/upload", query={"convertToPdf": convert_to_pdf}, content=pieces(), headers=headers
        )
        return self._object(File, "POST", document)

    async def get_file(self, file_id: str, *, raw_text: bool | None = None, markdown: bool | None = None) -> File:
        """Read a file (`GET /files/{id}`).

        Args:
            file_id: The file.
            raw_text: Whether its parsed contents shall come as plain text.
            markdown: Whether its parsed contents shall come as markdown.

        Returns:
            The file with a URL to download it, which works for 15 minutes.
        """
        query: Query = {"rawText": raw_text, "markdown": markdown}
        return self._object(File, "GET", await self.call("GET", f"/files/{path_segment(file_id)}", query=query))

    async def list_files(
        self,
        *,
        name_contains: str | None = None,
        sort_dir: str | None = None,
        next_page_token: str | None = None,
        max_page_size: int | None = None,
    ) -> Page[FileSummary]:
        """List files (`GET /files`), one page per call; arguments as for `list_workflow_runs`."""
        query: Query = {
            "nameContains": name_contains,
            "sortDir": sort_dir,
            "nextPageToken": next_page_token,
            "maxPageSize": max_page_size,
        }
        return await self.get_list(FileSummary, "/files", query)

    async def delete_file(self, file_id: str) -> Deleted:
        """Delete a file for good (`DELETE /files/{id}`)."""
        return await self.send(Deleted, "DELETE", f"/files/{path_segment(file_id)}")


_PIECE = 256 * 1024
