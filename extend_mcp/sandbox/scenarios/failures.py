"""Reasons for which runs of the scenarios fail. Names: Extend API reference, failureReason."""

from extend_mcp.sandbox.plan import Failure

_NOT_PARSED = "The file could not be parsed."
_RETRIES_USED_UP = "A step failed after all its retries."

PASSWORD_PROTECTED = Failure(
    "FAILED_TO_PROCESS_FILE",
    _NOT_PARSED,
    "PASSWORD_PROTECTED_FILE",
    "The file is protected with a password, and none was given.",
)
CORRUPT = Failure("FAILED_TO_PROCESS_FILE", _NOT_PARSED, "CORRUPT_FILE", "The file is damaged and cannot be opened.")
UNREACHABLE = Failure(
    "FAILED_TO_PROCESS_FILE",
    "The file could not be fetched.",
    "UNABLE_TO_DOWNLOAD_FILE",
    "The file's URL answered with status 403.",
)
OUT_OF_CREDITS = Failure(
    "DOCUMENT_PROCESSOR_ERROR",
    _RETRIES_USED_UP,
    "OUT_OF_CREDITS",
    "The organization has used up its credits.",
)
PARSING_ERROR = Failure(
    "DOCUMENT_PROCESSOR_ERROR",
    _RETRIES_USED_UP,
    "PARSING_ERROR",
    "The parsed text could not be read by the extractor.",
)
INTERNAL_ERROR = Failure("INTERNAL_ERROR", "The run stopped because of an internal error.")
INVALID_WORKFLOW = Failure(
    "INVALID_WORKFLOW", "Step 'Extract terms' refers to an extractor version that no longer exists."
)

BY_WORD_IN_NAME = {
    "password": PASSWORD_PROTECTED,
    "locked": PASSWORD_PROTECTED,
    "corrupt": CORRUPT,
    "unreachable": UNREACHABLE,
}
"""The parse failure that a word in a file's name calls up."""
