"""Looks into a wheel and an sdist: what users install holds the package, what is said of it, and nothing else.

python -m tests.packaging.contents WHEEL SDIST
"""

from __future__ import annotations

import email.parser
import re
import sys
import tarfile
import zipfile
from pathlib import Path

from extend_mcp import __version__
from release.description import PACKAGE, REGISTRY_NAME, REPOSITORY


def main() -> None:
    """Read both, and compare with what must be there."""
    wheel, sdist = (Path(each) for each in sys.argv[1:])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.parser.Parser().parsestr(archive.read(f"extend_mcp-{__version__}.dist-info/METADATA").decode())
        scripts = archive.read(f"extend_mcp-{__version__}.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"extend_mcp", f"extend_mcp-{__version__}.dist-info"}, names
    assert "extend_mcp/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "extend-mcp = extend_mcp.cli:main" in scripts
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (PACKAGE, __version__, "MIT")
    assert metadata["Requires-Python"] == ">=3.10"
    urls = dict(each.split(", ", 1) for each in metadata.get_all("Project-URL", []))
    assert {"Homepage", "Repository", "Documentation", "Changelog", "Issues"} <= urls.keys()
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    readme = str(metadata.get_payload())
    assert f"<!-- mcp-name: {REGISTRY_NAME} -->" in readme
    # A package index shows the README away from the repository.
    relative = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")]
    assert not relative, relative
    with tarfile.open(sdist) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert top == {"extend_mcp", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}, (
        top
    )
    print(f"{wheel.name}: {len(names)} files; {sdist.name}: {sorted(top)}")


if __name__ == "__main__":
    main()
