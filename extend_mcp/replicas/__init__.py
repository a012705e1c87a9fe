"""State that the replicas of one server share through Redis. No other part knows Redis."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


@contextmanager
def outage_logged(consequence: str) -> Iterator[None]:
    """Run a command of Redis; where that fails, log the consequence and continue after the block."""
    try:
        yield
    except (RedisError, OSError) as error:
        # The type only: the text may quote addresses or what was sent.
        logger.warning("%s: %s", consequence, type(error).__name__)
