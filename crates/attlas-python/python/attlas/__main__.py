"""The command line, as ``python -m attlas`` and as the script ``attlas``."""

from __future__ import annotations

import sys

from attlas import _attlas


def main() -> None:
    """Does what the command line says and ends with its exit code."""
    sys.exit(_attlas.main(["attlas", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
