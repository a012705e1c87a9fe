"""``python -m extend_mcp`` is the same as the ``extend-mcp`` command."""

from extend_mcp.cli import main

if __name__ == "__main__":
    main()
