"""Removes secrets from a line: the known ones, wherever they are, and whatever looks like one.

Known secrets are the sure part. The patterns catch secrets that this process does not know, such as a key in a proxy's
error page; they rather take too much than too little. All of it takes time in proportion to the length of the line: no
pattern can fail after an unbounded scan.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from threading import Lock
from typing import Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"

# Characters. What is shorter is no secret worth the name, and would be taken out of the middle of words.
SHORTEST: Final = 8
# Secrets remembered. Where each caller brings a key, the half that was not seen for longest is forgotten at once.
MOST_SECRETS: Final = 10_000

# Start of a word, also where the line is JSON, a repr or a URL and an escape sequence precedes it.
_START: Final = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4})|(?<=\\x[0-9A-Fa-f]{2})|(?<=%[0-9A-Fa-f]{2}))"
)

# Names of values that are secret, also at the end of longer names such as EXTEND_API_KEY.
_NAME: Final = (
    r"(?:pass(?:word|wd|phrase)|pwd|secrets?|secret[_-]?key|(?:api|private|signing|encryption)[_-]?keys?"
    r"|(?:access|refresh|id|auth|bearer|session|confirmation)[_-]?token|(?<![A-Za-z_-])token"
    r"|credentials?|authorization|cookie)"
)
_NAME_HINTS: Final = ("pass", "pwd", "secret", "key", "token", "credential", "authorization", "cookie")

# A value in quotes up to where they close, on one line; the second kind is within a string that is itself quoted.
_QUOTED: Final = "|".join(
    rf"(b?{mark})[^{mark}\\\n]*(?:\\.[^{mark}\\\n]*)*|(b?\\{mark})(?:[^{mark}\\\n]|\\\\(?:\\.|[^\\\n])|\\[^{mark}\\\n])*"
    for mark in ('"', "'")
)

_QUERY_NAME: Final = r"(?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token|key)"


class Redactor:
    """Replaces secrets in text by ``[redacted]``; may be called from any thread."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: dict[str, None] = {}
        self._forms: set[str] = set()
        self._lengths: dict[str, tuple[int, ...]] = {}  # of the forms that begin so, longest first
        self._lock = Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Know a secret from now on, also where it is percent-encoded, escaped in JSON or quoted by ``repr``.

        One of fewer than 8 characters without the spaces around it is ignored.
        """
        secret = secret.strip()
        if len(secret) < SHORTEST:
            return
        with self._lock:
            known = self._known.pop(secret, "") is None
            self._known[secret] = None
            if len(self._known) > MOST_SECRETS:
                self._known = dict.fromkeys([*self._known][MOST_SECRETS // 2 :])
                # Replaced whole, since readers take no lock.
                self._forms, self._lengths = _index(self._known, set(), {})
            elif not known:
                _index([secret], self._forms, self._lengths)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        text = self._without_known(text)
        lower = text.lower()
        for hints, looks, stays in _patterns():
            # Most lines have nothing of the kind, and looking for a word is much faster than matching.
            if any(hint in lower for hint in hints):
                text = looks.sub(stays, text)
        return text

    def _without_known(self, text: str) -> str:
        lengths, forms = self._lengths, self._forms
        kept: list[str] = []
        done = at = 0
        last = len(text) - SHORTEST if lengths else -1
        while at <= last:
            for length in lengths.get(text[at : at + SHORTEST], ()):
                if text[at : at + length] in forms:
                    kept += (text[done:at], REDACTED)
                    done = at = at + length
                    break
            else:
                at += 1
        return "".join((*kept, text[done:])) if kept else text


def is_secret_name(name: str) -> bool:
    """Return whether a value under this name is taken for a secret."""
    # Compiled when first used, not at start-up; `re` keeps what it compiled.
    return bool(re.search(rf"(?i){_NAME}['\"]?\Z", name))


def _index(
    secrets: Iterable[str], forms: set[str], lengths: dict[str, tuple[int, ...]]
) -> tuple[set[str], dict[str, tuple[int, ...]]]:
    """Add every way to write these secrets, such as escaped in JSON within JSON."""
    for secret in secrets:
        plain = secret.encode("utf-8", "replace").decode()
        escaped = [json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]]
        twice = [json.dumps(each)[1:-1] for each in escaped]
        for form in {secret, quote(plain, safe=""), quote(plain), quote_plus(plain), *escaped, *twice}:
            forms.add(form)
            start = form[:SHORTEST]
            lengths[start] = tuple(sorted({*lengths.get(start, ()), len(form)}, reverse=True))
    return forms, lengths


@functools.cache
def _patterns() -> tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]:
    """Return patterns of secrets: lower-case hints of which each match has one, and what stays of a match.

    They are compiled when the first line is written, not at start-up.
    """
    # An object or list under a secret name goes with all that follows it: where it ends is not always clear.
    whole = rf"({_NAME}(?:\\?[\"'])?[ \t]{{0,4}}[:=][ \t]{{0,4}})(?!\[redacted\])[\[{{].*"
    # What is between a name and its value: a colon or the like, and where needed [ or SecretStr( .
    between = r"(?:\\?[\"'])?[ \t]{0,4}(?:[:=]|%3D)[ \t]{0,4}(?:[a-z_.]{0,40}(?!\[red)[\[{(])?"
    pair = rf"({_NAME}{between})(?:{_QUOTED}|(?:(?:bearer|basic|digest)[ ]{{1,4}})?[^\s\"'\\&]+)"
    query = rf"(?<!_){_START}({_QUERY_NAME}(?:=|%3D))[^\s&\"'<>#\\]+"
    bearer = r"(bearer(?:[ \t]{1,4}|%20|\+))(?!\[redacted\])[^\s\"'\\,;&<>]{6,}"
    key = rf"{_START}((?:sk|xt|wss|emcp)_)[A-Za-z0-9_-]{{6,}}"
    jwt = r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}"
    return (
        (_NAME_HINTS, re.compile(whole, re.IGNORECASE | re.DOTALL), rf"\1{REDACTED}"),
        (("://",), re.compile(r"(?<=://)[^\s/?#\"'<>\\]*@"), f"{REDACTED}@"),
        (("bearer",), re.compile(bearer, re.IGNORECASE), rf"\1{REDACTED}"),
        (("=", "%3d"), re.compile(query, re.IGNORECASE), rf"\1{REDACTED}"),
        (("sk_", "xt_", "wss_", "emcp_"), re.compile(key), rf"\1{REDACTED}"),
        (("eyj",), re.compile(jwt), REDACTED),
        # Last: what it takes for a value may be the word before the secret.
        (_NAME_HINTS, re.compile(pair, re.IGNORECASE), rf"\1\2\3\4\5{REDACTED}"),
    )
