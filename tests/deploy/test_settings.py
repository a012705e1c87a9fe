"""Check that deploy/ agrees with the code and with itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from extend_mcp import __version__
from extend_mcp.http.settings import HttpLimits, HttpSettings
from extend_mcp.settings import Settings, SettingsError, load
from tests.deploy.dockerfile import Ignored, Stage, read_stages

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
LOCAL = {".env", "secrets"}
"""A file that an operator puts there for compose, and git ignores."""
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and not LOCAL & set(path.relative_to(DEPLOY).parts))
PAGE = ROOT / "docs" / "deploy.md"

SETTINGS = {
    str(field.validation_alias): field for kind in (Settings, HttpSettings) for field in kind.model_fields.values()
}
SECRETS = {name for name, field in SETTINGS.items() if "SecretStr" in str(field.annotation)}


@pytest.fixture(scope="module")
def image() -> Stage:
    return read_stages(DEPLOY / "Dockerfile")[-1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return parse("compose.yaml")


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """By kind; there is one of each."""
    files = [path for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) if path.name != "kustomization.yaml"]
    loaded = [yaml.safe_load(path.read_text()) for path in files]
    assert len({each["kind"] for each in loaded}) == len(loaded)
    return {each["kind"]: each for each in loaded}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def server(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod["containers"]
    return container


def test_nothing_is_pulled_by_a_tag_that_moves(image: Stage, compose: dict[str, Any]) -> None:
    named = [stage.base for stage in read_stages(DEPLOY / "Dockerfile")]
    named += [service["image"] for service in compose["services"].values()]
    for kustomization in ("kubernetes", "overlays/production"):
        named += [f"{each['name']}:{each['newTag']}" for each in parse(f"{kustomization}/kustomization.yaml")["images"]]
    own = {name for name in named if name.startswith("extend-mcp:")}
    assert own == {f"extend-mcp:{__version__}"}
    for name in set(named) - own:
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+(-[\w.-]+)?@sha256:[0-9a-f]{64}", name), name
    assert "latest" not in "".join(path.read_text() for path in FILES if path.name != "requirements.txt")


def test_the_build_installs_only_what_it_can_check(image: Stage) -> None:
    installs = [
        command
        for stage in read_stages(DEPLOY / "Dockerfile")
        for step in stage.all("RUN")
        for command in re.findall(r"pip(?: --python \S+)? (?:install|wheel) [^&|]*", step.rest)
    ]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or "--no-deps" in command, command
    for name in ("requirements.txt", "requirements-build.txt"):
        pins = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(), flags=re.MULTILINE))
        for pin in pins:
            assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin, re.DOTALL), pin[:80]


def parse(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("path", [*FILES, PAGE], ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"\bEXTEND_[A-Z][A-Z_]*[A-Z]\b", path.read_text()))
    assert named <= set(SETTINGS)


def test_the_variables_are_looked_for_where_they_are() -> None:
    text = "".join(path.read_text() for path in FILES)
    for name in ("EXTEND_MCP_PUBLIC_URL", "EXTEND_MCP_REDIS_URL", "EXTEND_API_KEY"):
        assert name in text
    assert {"EXTEND_API_KEY", "EXTEND_MCP_STATE_KEYS", "EXTEND_MCP_REDIS_URL"} <= SECRETS


def test_what_the_files_set_is_accepted_by_the_settings(
    monkeypatch: pytest.MonkeyPatch, image: Stage, compose: dict[str, Any], manifests: dict[str, dict[str, Any]]
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    inside = {name: value for name, value in image.env.items() if name.startswith("EXTEND_")}
    for chosen in (filled(compose["services"]["server"]["environment"]), manifests["ConfigMap"]["data"]):
        with monkeypatch.context() as environment:
            for name, value in {**inside, **chosen}.items():
                environment.setenv(name, value)
            assert load(Settings).log == "json:WARNING"
            http = load(HttpSettings)
            assert (http.host, http.port, http.auth) == ("0.0.0.0", 8000, chosen["EXTEND_MCP_AUTH"])


def test_the_image_alone_listens_nowhere_without_a_choice_of_who_may_call(
    monkeypatch: pytest.MonkeyPatch, image: Stage
) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
        if name in image.env:
            monkeypatch.setenv(name, image.env[name])
    with pytest.raises(SettingsError, match="EXTEND_MCP_AUTH"):
        load(HttpSettings)


def filled(environment: dict[str, str]) -> dict[str, str]:
    """The values as compose makes them where only what is demanded is given."""
    plain = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in environment.items()}
    return {name: re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 32, value) for name, value in plain.items()}


def test_no_secret_stands_in_a_file(
    image: Stage, compose: dict[str, Any], manifests: dict[str, dict[str, Any]], server: dict[str, Any]
) -> None:
    assert not SECRETS & (set(image.env) | set(manifests["ConfigMap"]["data"]))
    assert "Secret" not in manifests
    for name, value in compose["services"]["server"]["environment"].items():
        if name in SECRETS:
            assert re.fullmatch(r"(redis://:)?\$\{\w+:[-?][a-z0-9 ,]*\}(@redis:6379/0)?", value), name
            # A default would be a secret that everybody knows.
            assert not re.search(r":-[^}]", value), name
    by_reference = {entry["name"]: set(entry) for entry in server["env"]}
    assert set(by_reference) <= SECRETS
    assert all(keys == {"name", "valueFrom"} for keys in by_reference.values())
    for path in FILES:
        text = re.sub(r"^ *--hash=.*$", "", path.read_text().replace("@sha256", ""), flags=re.MULTILINE)
        assert not re.search(r"\b(sk|xt|wss|emcp)_\w{6,}|:[^/@$\s}]+@", text), path.name


def test_a_replica_is_killed_only_after_it_had_its_time(
    compose: dict[str, Any], pod: dict[str, Any], server: dict[str, Any]
) -> None:
    needed = HttpLimits.drain_seconds + HttpLimits.shutdown_seconds + 5
    assert pod["terminationGracePeriodSeconds"] >= needed
    ready = server["readinessProbe"]
    # Nobody sends new calls any more when the listener closes.
    assert 2 * ready["periodSeconds"] * ready["failureThreshold"] <= HttpLimits.drain_seconds
    service = compose["services"]["server"]
    assert float(service["stop_grace_period"].removesuffix("s")) >= needed


def test_there_are_three_replicas_everywhere(compose: dict[str, Any], manifests: dict[str, dict[str, Any]]) -> None:
    assert manifests["Deployment"]["spec"]["replicas"] == 3
    assert manifests["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3
    assert compose["services"]["server"]["deploy"]["replicas"] == 3
    upstream = re.findall(r"^\s+server (\S+) resolve ", (DEPLOY / "nginx.conf").read_text(), re.MULTILINE)
    assert upstream == [f"{compose['name']}-server-{number}:8000" for number in (1, 2, 3)]


def test_names_labels_and_selectors_agree(manifests: dict[str, dict[str, Any]], pod: dict[str, Any]) -> None:
    deployment = manifests["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["topologySpreadConstraints"]),
    ]
    assert selectors == [labels] * len(selectors)
    for manifest in manifests.values():
        assert manifest["metadata"] == {**manifest["metadata"], "name": "extend-mcp", "labels": labels}
    target = manifests["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert pod["serviceAccountName"] == manifests["ServiceAccount"]["metadata"]["name"]


def test_ports_and_paths_agree(
    image: Stage, manifests: dict[str, dict[str, Any]], server: dict[str, Any], compose: dict[str, Any]
) -> None:
    port = int(image.env["EXTEND_MCP_PORT"])
    assert image.last("EXPOSE").rest == str(port)
    (named,) = server["ports"]
    assert named == {"name": "http", "containerPort": port}
    assert manifests["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    (rule,) = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [port]
    (service,) = manifests["Service"]["spec"]["ports"]
    assert service["targetPort"] == "http"
    (ingress,) = manifests["Ingress"]["spec"]["rules"]
    backends = [path["backend"]["service"] for path in ingress["http"]["paths"]]
    assert backends == [{"name": "extend-mcp", "port": {"name": service["name"]}}] * len(backends)
    public = urlsplit(manifests["ConfigMap"]["data"]["EXTEND_MCP_PUBLIC_URL"])
    assert (public.hostname, public.path) == (ingress["host"], "/mcp")
    assert manifests["Ingress"]["spec"]["tls"][0]["hosts"] == [ingress["host"]]
    for probe, path in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
        assert (server[probe]["httpGet"]["path"], server[probe]["httpGet"]["port"]) == (path, "http")
    assert f":{port}/healthz" in json.dumps(compose["services"]["server"]["healthcheck"])


def test_every_secret_and_mount_that_is_used_is_there(pod: dict[str, Any], server: dict[str, Any]) -> None:
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert set(mounts) == volumes
    config = parse("kubernetes/configmap.yaml")["data"]
    assert str(Path(config["EXTEND_MCP_AUTH"].removeprefix("token:")).parent) == mounts["tokens"]
    references = [entry["valueFrom"]["secretKeyRef"] for entry in server["env"]]
    assert {reference["name"] for reference in references} == {"extend-mcp"}
    text = PAGE.read_text()
    # A reader who follows the page has made what must be there.
    for reference in references:
        if not reference.get("optional"):
            assert f"{reference['key']}=" in text, reference["key"]
    assert "extend-mcp-tokens" in text


def test_the_server_may_do_nothing_that_it_need_not(
    image: Stage, compose: dict[str, Any], pod: dict[str, Any], server: dict[str, Any]
) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", image.last("USER").rest)
    user, group = map(int, image.last("USER").rest.split(":"))
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, user, group)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    inside = server["securityContext"]
    assert (inside["readOnlyRootFilesystem"], inside["allowPrivilegeEscalation"]) == (True, False)
    assert inside["capabilities"] == {"drop": ["ALL"]}
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert ("ports" in service) == (name == "balancer"), name
    assert compose["networks"][compose["services"]["redis"]["networks"][0]] == {"internal": True}


def test_the_kustomization_names_every_file_and_the_image_of_the_deployment(server: dict[str, Any]) -> None:
    kustomization = parse("kubernetes/kustomization.yaml")
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    assert [entry["name"] for entry in kustomization["images"]] == [server["image"]]
    assert [entry["name"] for entry in parse("overlays/production/kustomization.yaml")["images"]] == [server["image"]]


def test_the_service_of_systemd_starts_what_the_page_installs() -> None:
    unit = (DEPLOY / "systemd" / "extend-mcp.service").read_text()
    page = PAGE.read_text()
    for name in ("ExecStart", "EnvironmentFile"):
        [value] = re.findall(rf"^{name}=(\S+)", unit, re.MULTILINE)
        assert value in page, name
    [user] = re.findall(r"^User=(\S+)", unit, re.MULTILINE)
    assert re.search(rf"useradd .*\b{user}\b", page)


def test_the_build_sees_only_what_the_wheel_is_made_of() -> None:
    ignored = Ignored(DEPLOY / "Dockerfile.dockerignore")
    for seen in ("pyproject.toml", "README.md", "LICENSE", "extend_mcp/cli.py", "deploy/requirements.txt"):
        assert not ignored(Path(seen)), seen
    for hidden in (
        "tests/conftest.py",
        ".git/config",
        "deploy/secrets/extend-key",
        "deploy/.env",
        ".env",
        "benchmarks/x",
    ):
        assert ignored(Path(hidden)), hidden
    for left_over in ("extend_mcp/__pycache__/cli.cpython-312.pyc", "extend_mcp/api/client.pyo"):
        assert ignored(Path(left_over)), left_over
