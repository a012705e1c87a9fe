""".ci/validate accepts deploy/ and refuses each kind of broken file: what accepts everything proves nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("hadolint", "check-jsonschema", "kubernetes-validate", "yamllint")

missing = [tool for tool in TOOLS if not (ROOT / ".venv" / "bin" / tool).exists()]
pytestmark = [
    pytest.mark.deploying,
    pytest.mark.skipif(bool(missing), reason=f"not in .venv: {', '.join(missing)}; .ci/validate installs them"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "deploy", tmp_path / "deploy")


def validate(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / ".ci" / "validate", folder], capture_output=True, text=True, timeout=100)


def test_what_is_in_the_repository_is_accepted(folder: Path) -> None:
    result = validate(folder)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "right", "wrong", "told"),
    [
        pytest.param("compose.yaml", "services:", "services: &unused", "yamllint", id="yaml: an anchor nobody uses"),
        pytest.param("kubernetes/pdb.yaml", "  name:", "   name:", "yamllint", id="yaml: indentation"),
        pytest.param("Dockerfile", "USER 10001:10001", "USER root", "hadolint", id="Dockerfile: ends as root"),
        pytest.param("Dockerfile", 'CMD ["serve"', "CMD [serve", "hadolint", id="Dockerfile: not valid"),
        pytest.param("Dockerfile", '"${wheel}[redis,otel]"', "$wheel", "hadolint", id="Dockerfile: shell script"),
        pytest.param("compose.yaml", "read_only: true", "readonly: true", "compose", id="compose: unknown key"),
        pytest.param("compose.yaml", "pids_limit: 128", "pids_limit: [128]", "compose", id="compose: wrong type"),
        pytest.param(
            "kubernetes/deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem", "Kubernetes", id="key"
        ),
        pytest.param("kubernetes/deployment.yaml", "replicas: 3", "replicas: three", "Kubernetes", id="type"),
        pytest.param("kubernetes/hpa.yaml", "autoscaling/v2", "autoscaling/v2beta2", "Kubernetes", id="version"),
        pytest.param("kubernetes/service.yaml", "kind: Service", "kind: Servce", "Kubernetes", id="kind"),
    ],
)
def test_a_broken_copy_is_refused_by_its_validator(folder: Path, file: str, right: str, wrong: str, told: str) -> None:
    broken = folder / file
    text = broken.read_text()
    assert right in text
    broken.write_text(text.replace(right, wrong))
    result = validate(folder)
    assert result.returncode != 0
    last = [line for line in result.stdout.splitlines() if line.startswith("-- ")][-1]
    assert told in last, result.stdout + result.stderr


@pytest.mark.skipif(not shutil.which("nginx", path="/usr/sbin:/usr/bin"), reason="nginx is not installed")
def test_a_broken_balancer_configuration_is_refused(folder: Path) -> None:
    broken = folder / "nginx.conf"
    broken.write_text(broken.read_text().replace("proxy_buffering off;", "proxy_bufering off;"))
    result = validate(folder)
    assert result.returncode != 0
    assert "proxy_bufering" in result.stderr
