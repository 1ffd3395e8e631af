"""The SQL door of operations."""

from typing import Any

Row = dict[str, Any]  # Any: column values
