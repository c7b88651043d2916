"""Recent: the last few things that were made, so that going back costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The values made last, by their keys; at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """The value, or None where there is none, or no longer."""
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> Value:
        """Keep a value; returns it."""
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value

    def made(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value, made and kept where there is none."""
        value = self.get(key)
        return self.put(key, make()) if value is None else value
