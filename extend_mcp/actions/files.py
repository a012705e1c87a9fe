"""Uploading and deleting files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from pydantic import SecretStr

from extend_mcp.actions.execute import DeleteObject, Inspection, ObjectAction
from extend_mcp.views.actions import ActionView
from extend_mcp.views.files import file_lines
from extend_mcp.views.untrusted import Id


@dataclass
class UploadFile(ObjectAction):
    """Upload a file. Nobody is asked: nothing runs on it, and a second copy does no harm."""

    file_name: str
    content: bytes
    media_type: str
    convert_to_pdf: bool | None
    password: SecretStr | None
    on_progress: Callable[[int, int], Awaitable[None]]

    name: ClassVar[str] = "upload_file"
    after_unclear: ClassVar[str] = "Look with list_files before repeating it; a second copy does no harm."

    async def send(self) -> ActionView:
        made = await self.app.api.upload_file(
            self.file_name,
            self.content,
            content_type=self.media_type,
            convert_to_pdf=self.convert_to_pdf,
            password=self.password,
            on_progress=self.on_progress,
        )
        self.target = Id(made.id)
        next_step = f'run_workflow(workflow, file_id="{self.target}")'
        return self.answer(
            "done", f"Uploaded as {self.target}.", sent=True, details=file_lines(made), next_step=next_step
        )


@dataclass
class DeleteFile(DeleteObject):
    """Delete a file."""

    name: ClassVar[str] = "delete_file"
    read_by = ("get_file", file_lines)

    async def inspect(self) -> Inspection[ActionView]:
        file = await self.app.api.get_file(self.target)
        return Inspection(
            ["Delete this file for good?", *file_lines(file), "Its runs stay; it cannot be run or read again."]
        )
