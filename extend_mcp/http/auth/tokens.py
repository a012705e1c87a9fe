"""Static bearer tokens, kept as hashes in a JSON file: who may call, on which Extend account, with which rights.

The file holds ``{"tokens": [entry, ...]}``. `TokenEntry` is an entry; `new_token` makes one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import anyio.to_thread
import pydantic
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from starlette.datastructures import Headers

from extend_mcp.accounts import LABEL_PATTERN, Account, Caller
from extend_mcp.api.wire import decode_json
from extend_mcp.clock import Clock
from extend_mcp.http.auth.base import Identify, UnidentifiedError, bearer, is_sendable
from extend_mcp.scopes import SCOPES, scopes_of
from extend_mcp.settings import SettingsError, ToolsetName
from extend_mcp.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MIN_CHARS: Final = 20
LOOK_SECONDS: Final = 1.0  # the shortest time between two looks at the file
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
_FIELD: Final = re.compile(r"[a-z_]{1,32}")


class TokenEntry(BaseModel):
    """One token, for the server's own account unless it names a key in a variable or a file.

    A caller may do what the scopes, or the toolsets and ``read_only``, allow; without any of them, everything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=_NAME)
    sha256: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
    # A key that was put here by mistake must not be shown.
    api_key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", repr=False)
    api_key_file: Path | None = Field(None, repr=False)
    workspace_id: str | None = None
    organization: str = Field("", max_length=100)
    label: str = Field("", pattern=f"{LABEL_PATTERN}|^$")
    scopes: Annotated[frozenset[str], Field(min_length=1)] | None = None
    toolsets: Annotated[tuple[ToolsetName, ...], Field(min_length=1)] | None = None
    read_only: bool | None = None
    expires: AwareDatetime | None = None

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> TokenEntry:
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ValueError("give api_key_env or api_key_file, not both")
        if self.workspace_id is not None and not is_sendable(self.workspace_id):
            raise ValueError("workspace_id must be visible ASCII without spaces")
        if self.scopes is not None and (self.toolsets is not None or self.read_only is not None):
            raise ValueError("give scopes, or toolsets and read_only, not both")
        if self.scopes and not self.scopes <= set(SCOPES):
            raise ValueError(f"scopes are some of {', '.join(SCOPES)}")
        if self.rights == frozenset():
            raise ValueError("toolsets and read_only together leave nothing that is allowed")
        return self

    @property
    def rights(self) -> frozenset[str] | None:
        """Return the scopes that the entry grants; None for everything."""
        if self.toolsets is None and not self.read_only:
            return self.scopes
        return frozenset(scopes_of(self.toolsets or get_args(ToolsetName), read_only=bool(self.read_only)))


@dataclass
class Tokens(Identify):
    """Identifies callers by the tokens of a file, which is read again every second, and the keys' files with it.

    Entries that name no key act on the ``default`` account.

    Raises:
        SettingsError: the file cannot be used; the text names entry and rule, never a value.
    """

    path: Path
    default: Account
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self._looked, self._problem = self.clock.monotonic(), ""
        self._entries, self._callers = self._read()

    async def __call__(self, headers: Headers) -> Caller:
        """Identify the caller by their token."""
        token = bearer(headers)
        if len(token) < MIN_CHARS or not is_sendable(token):
            raise UnidentifiedError("what was sent is too short, too long or not plain enough for a token")
        await self._look()
        # Slow hashes protect what can be guessed, as passwords can; a random token of 256 bits needs a fast one only.
        digest = hashlib.sha256(token.encode()).hexdigest()
        # All are compared, so that the time taken does not reveal which one matched.
        met = [caller for caller in self._callers if hmac.compare_digest(caller.credential, digest)]
        if not met:
            raise UnidentifiedError("no such token")
        if met[0].expires_at is not None and self.clock.now().timestamp() >= met[0].expires_at:
            raise UnidentifiedError(f"the token {met[0].client_id} has expired")
        return met[0]

    async def still_valid(self, caller: Caller) -> bool:
        """Return whether the file still has the caller's token, with the same rights."""
        await self._look()
        return any(each == caller and each.credential == caller.credential for each in self._callers)

    async def _look(self) -> None:
        now = self.clock.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            # A file may lie on a slow mount; other callers are served meanwhile.
            await anyio.to_thread.run_sync(self._reload)

    def _reload(self) -> None:
        before, problem = self._entries, ""
        try:
            self._entries, self._callers = self._read()
        except SettingsError as error:
            problem = str(error)
        if problem and problem != self._problem:
            logger.error("The tokens read before still count, since the new file cannot be used: %s", problem)
        elif self._entries != before:
            logger.info("Read %d tokens.", len(self._callers))
        self._problem = problem
        self.metrics.set("tokens_file_rejected", bool(problem))

    def _read(self) -> tuple[list[TokenEntry], list[Caller]]:
        entries = _entries(_document(self.path))
        return entries, [self._caller(place, entry) for place, entry in enumerate(entries)]

    def _caller(self, place: int, entry: TokenEntry) -> Caller:
        given, key = entry.model_dump(include={"workspace_id", "organization", "label"}), ""
        if entry.api_key_env is not None:
            key, fault = os.environ.get(entry.api_key_env, ""), "api_key_env names a variable that is not set to a key"
        elif entry.api_key_file is not None:
            fault = "api_key_file names a file that holds no key or cannot be read"
            with suppress(OSError, ValueError):
                key = entry.api_key_file.read_text(encoding="utf-8")
        else:
            fault = ""
        if fault and not is_sendable(key.strip()):
            raise SettingsError(f"{_where(place, entry.name)}: {fault}")
        account = Account(SecretStr(key.strip()), **given)
        if not fault:
            account = replace(self.default, **{name: value for name, value in given.items() if value})
        return Caller(
            f"token:{entry.name}",
            account,
            scopes=entry.rights,
            expires_at=int(entry.expires.timestamp()) if entry.expires else None,
            client_id=entry.name,
            credential=entry.sha256,
        )


def new_token(name: str, *, scopes: Collection[str] = (), read_only: bool = False) -> tuple[str, dict[str, Any]]:
    """Make a token, to be shown once and kept nowhere, and its entry for the file.

    Raises:
        SettingsError: the name or the rights do not fit.
    """
    token = f"emcp_{secrets.token_urlsafe(32)}"
    rights = {**({"scopes": sorted(scopes)} if scopes else {}), **({"read_only": True} if read_only else {})}
    entry = {"name": name, "sha256": hashlib.sha256(token.encode()).hexdigest(), **rights}
    _entries({"tokens": [entry]})
    return token, entry


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry to a tokens file, which is made if it does not exist, or raise a SettingsError that has no value.

    Nothing changes unless the whole file fits.
    """
    document = _document(path) if path.exists() else {"tokens": []}
    _entries(document)
    document["tokens"].append(entry)
    _entries(document)
    target = path.resolve()
    made = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        # Replaced in one step, since a running server may read it at any time; its mode stays.
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
        made.touch(0o600, exist_ok=False)
        made.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        made.chmod(mode)
        made.replace(target)
    except OSError as error:
        raise SettingsError(f"the tokens file cannot be written: {error.strerror}") from None


def _document(path: Path) -> Any:
    try:
        return decode_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the tokens file cannot be read: {error.strerror}") from None
    except ValueError:
        # The error would hold the text of the file.
        raise SettingsError("the tokens file is not JSON") from None


def _entries(document: Any) -> list[TokenEntry]:
    """Return the entries of a tokens file, or raise a SettingsError that names each fault and quotes no value."""
    if not (isinstance(document, dict) and document.keys() == {"tokens"} and isinstance(document["tokens"], list)):
        raise SettingsError('the tokens file must be an object with the list "tokens" and nothing else')
    entries: list[TokenEntry] = []
    faults: list[str] = []
    used: set[str] = set()
    for place, given in enumerate(document["tokens"]):
        where = _where(place, given.get("name") if isinstance(given, dict) else None)
        try:
            entry = TokenEntry.model_validate(given)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False, include_context=False):
                # The text in the place of a field's name may be anything, even a secret.
                named = str((*problem["loc"], "")[0])
                shown = f"{named} " if named in TokenEntry.model_fields or _FIELD.fullmatch(named) else ""
                faults.append(f"{where}: {shown}{problem['msg'].removeprefix('Value error, ').removeprefix('Input ')}")
        else:
            if used & {entry.name, entry.sha256}:
                faults.append(f"{where}: the name or the sha256 is used more than once")
            used |= {entry.name, entry.sha256}
            entries.append(entry)
    if faults:
        raise SettingsError("\n".join(faults))
    return entries


def _where(place: int, name: object) -> str:
    return f"tokens[{place}] ({name})" if isinstance(name, str) and re.fullmatch(_NAME, name) else f"tokens[{place}]"
