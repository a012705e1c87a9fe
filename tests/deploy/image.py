"""Builds and runs the image without a container engine: its own commands, at its own paths, as its own user.

What the base image would bring is this machine's: its files lie under an overlay that catches whatever a step writes.
So the image is the layer above them, and the layer is what the tests look at. Needs root, for mounts in a namespace of
their own; nothing of it is seen outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.dockerfile import Ignored, Stage, Step, read_stages

# The interpreter that made this environment replaces the base image's, which is the first on its PATH.
_PYTHON = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
BASE_PATH = f"{_PYTHON.parent}:/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

_MOUNT = """
root=$1; options=$2; shift 2
mount -t overlay overlay -o "$options" "$root"
mount --rbind /dev "$root/dev"
mount --bind /proc "$root/proc"
while [ "$1" != -- ]; do mount --bind "$1" "$root$1"; shift; done
shift
"""
_BUILD = _MOUNT + 'folder=$1; shift; cd "$root"; exec chroot "$root" sh -c "cd $folder; $1"'
# The tmpfs of the compose file and the manifests, no capability, and no way to gain one.
_RUN = (
    _MOUNT
    + """
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
user=$1; group=$2; shift 2
cd "$root"
exec chroot "$root" setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs --inh-caps=-all \
  --bounding-set=-all env -i "$@"
"""
)


def why_not() -> str:
    """The reason that no image can be built here; empty if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to mount its own file system"
    for tool in ("unshare", "setpriv", "nsenter"):
        if not shutil.which(tool):
            return f"needs {tool} (Debian: util-linux)"
    probe = "d=$(mktemp -d); mount -t tmpfs t $d; mkdir $d/u $d/w $d/r; "
    probe += "mount -t overlay o -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/r; s=$?; umount -R $d; rmdir $d; exit $s"
    if subprocess.run(["unshare", "--mount", "sh", "-c", probe], capture_output=True).returncode:
        return "this kernel or container allows no overlay mounts"
    return ""


class Image:
    """The image of a Dockerfile.

    Args:
        dockerfile: the file, with its ignore file next to it.
        context: the folder that is built.
        work: an empty folder for the layers.
    """

    def __init__(self, dockerfile: Path, context: Path, work: Path) -> None:
        self._context = context
        self._work = work
        self._ignored = Ignored(Path(f"{dockerfile}.dockerignore"))
        self._layers: dict[str, Path] = {}
        for number, stage in enumerate(read_stages(dockerfile)):
            self.stage = stage
            self.layer = self._build(stage, work / f"layer{number}")
            self._layers[stage.name] = self.layer

    @property
    def environment(self) -> dict[str, str]:
        """The command and environment of a container."""
        given = {name: value.replace("$PATH", BASE_PATH) for name, value in self.stage.env.items()}
        return {"PATH": BASE_PATH, "LANG": "C.UTF-8", "HOME": "/", **given}

    @property
    def user(self) -> tuple[str, str]:
        """Number of the user and of the group."""
        user, _, group = self.stage.last("USER").rest.partition(":")
        return user, group

    @property
    def files(self) -> list[Path]:
        """Every file that the build added, relative to the root."""
        found = [path.relative_to(self.layer) for path in self.layer.rglob("*") if path.is_symlink() or path.is_file()]
        return [path for path in found if Path("/") / path != _PYTHON.with_name("python")]

    @contextmanager
    def container(self, *, output: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run ENTRYPOINT and CMD on a file system that nobody can write; killed in the end if it still runs."""
        command = [*self.stage.last("ENTRYPOINT").words, *self.stage.last("CMD").words]
        root = self._root("container")
        with output.open("wb") as log:
            argv = ["bash", "-euc", _RUN, "run", str(root), f"ro,{self._overlay(self.layer)}", *_elsewhere(), "--"]
            argv += [*self.user, *self._assignments(environment), *command]
            # The last exec of the chain is the server: the process that is returned is the container's first.
            with subprocess.Popen(["unshare", "--mount", *argv], stdout=log, stderr=log) as process:
                try:
                    yield process
                finally:
                    process.kill()

    def execute(self, process: subprocess.Popen[bytes], command: list[str], **environment: str) -> str:
        """Run a command inside a container as its user, as a health check is run.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        user, group = self.user
        inside = ["nsenter", f"--target={process.pid}", "--mount", "--root", "--wd=/"]
        inside += ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]
        inside += ["env", "-i", *self._assignments(environment), *command]
        return subprocess.run(inside, capture_output=True, text=True, check=True, timeout=30).stdout

    def _assignments(self, environment: dict[str, str]) -> list[str]:
        return [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]

    def _root(self, name: str) -> Path:
        root = self._work / name
        root.mkdir(exist_ok=True)
        return root

    def _overlay(self, layer: Path) -> str:
        return f"lowerdir=/,upperdir={layer},workdir={self._root('overlay')}"

    def _build(self, stage: Stage, layer: Path) -> Path:
        layer.mkdir()
        _lend_python(layer)
        folder = Path("/")
        for step in stage.steps:
            if step.name == "WORKDIR":
                folder = Path(step.rest)
                (layer / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
            elif step.name == "COPY":
                self._copy(step, layer, folder)
            elif step.name == "RUN":
                self._run(step, layer, folder)
        return layer

    def _copy(self, step: Step, layer: Path, folder: Path) -> None:
        *sources, target = step.words
        goal = layer / (folder / target).relative_to("/")
        if stage := step.flags.get("from"):
            for source in sources:
                shutil.copytree(self._layers[stage] / source.lstrip("/"), goal, symlinks=True, dirs_exist_ok=True)
            return
        for source in sources:
            start = self._context / source
            found = [path for path in (start.rglob("*") if start.is_dir() else [start]) if path.is_file()]
            seen = [path for path in found if not self._ignored(path.relative_to(self._context))]
            if not seen:
                raise FileNotFoundError(f"COPY {source}: not in the context")
            for path in seen:
                # A folder's contents are copied, not the folder.
                place = goal / (path.relative_to(start) if start.is_dir() else path.name)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, place)

    def _run(self, step: Step, layer: Path, folder: Path) -> None:
        root = self._root("build")
        options = [self._overlay(layer), *_elsewhere(), "--", str(folder)]
        argv = ["bash", "-euc", _BUILD, "build", str(root), *options, step.rest]
        # How this machine reaches its package index is no part of the image.
        index = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HOME"))}
        done = subprocess.run(
            ["unshare", "--mount", *argv],
            capture_output=True,
            text=True,
            timeout=300,
            env={"PATH": BASE_PATH, "LANG": "C.UTF-8", **index},
        )
        if done.returncode:
            raise RuntimeError(f"RUN {step.rest}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def _lend_python(layer: Path) -> None:
    """Let every user of the image start this machine's interpreter, which may lie where only root may look."""
    for above in reversed(_PYTHON.parents):
        if not above.stat().st_mode & 0o001:
            (layer / above.relative_to("/")).mkdir(mode=0o711, parents=True)
    if not _PYTHON.with_name("python").exists():
        name = layer / _PYTHON.with_name("python").relative_to("/")
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(_PYTHON.name)


def _elsewhere() -> list[str]:
    """Return what a build needs from another file system than the root, where the overlay does not show it."""
    needed = [sys.base_prefix, "/etc/resolv.conf", "/etc/hosts", *os.environ.get("PIP_FIND_LINKS", "").split()]
    paths = [Path(name) for name in needed if name.startswith("/") and Path(name).exists()]
    return [str(path) for path in paths if path.stat().st_dev != Path("/").stat().st_dev]
