"""Uploading and deleting files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from extend_mcp.actions.execute import DeleteObject, Inspection, ObjectAction
from extend_mcp.api.models import File
from extend_mcp.views.actions import ActionView
from extend_mcp.views.files import file_lines
from extend_mcp.views.untrusted import Id


class UploadFile(ObjectAction):
    """Upload a file, by a call of the client. Nobody is asked: nothing runs on it, and a second copy does no harm."""

    body: Callable[[], Awaitable[File]]
    name = "upload_file"
    after_unclear = "Look with list_files before repeating it; a second copy does no harm."

    async def send(self) -> ActionView:
        made = await self.body()
        self.target = Id(made.id)
        next_step = f'run_workflow(workflow, file_id="{self.target}")'
        return self.answer(
            "done", f"Uploaded as {self.target}.", sent=True, details=file_lines(made), next_step=next_step
        )


class DeleteFile(DeleteObject):
    """Delete a file."""

    name, reads, facts = "delete_file", "get_file", file_lines

    def ask(self, present: File) -> Inspection[ActionView]:
        last = "Its runs stay; it cannot be run or read again."
        return Inspection(["Delete this file for good?", *file_lines(present), last])
