"""What attlas refuses, as exceptions; each message is a sentence that says what was found and what helps."""

from __future__ import annotations


class Error(ValueError):
    """Anything that attlas refuses."""


class ArgumentError(Error, TypeError):
    """A function was given an argument that it does not have; the message says which there are."""


class CaptureError(Error):
    """Attention could not be captured from a model."""


class FormatError(Error):
    """A file or an array is not what it should be."""


class LimitError(Error):
    """More than a limit allows."""


class MissingError(Error, IndexError):
    """There is no such kind, layer, head, text, row or column; the message says which there are."""


class FileError(Error, OSError):
    """A file could not be read or written."""
