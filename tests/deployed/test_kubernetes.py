"""k8s-templates: the API's schemas, kubectl, and what both let through (services.md 9)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml

from keycheck.settings import SETTINGS, parse
from sandbox.http_fake import Answer, FakeServer, Request
from sandbox.world import World
from tests.deployed.telegraf import ROOT
from tests.running import run

TEMPLATES = ROOT / "k8s-templates"
MANIFESTS = sorted(TEMPLATES.rglob("*.yaml"))
OLDEST, NEWEST = "1.27.0", kubernetes_validate.latest_version()
"""CronJob's timeZone is stable since 1.27."""
TMP = "/tmp"  # noqa: S108 - the one folder that a pod may write to
CACHE = "/var/cache/keycheck"
HAVE_KUBECTL = shutil.which("kubectl") is not None


def documents() -> list[tuple[Path, dict[str, Any]]]:
    return [(path, one) for path in MANIFESTS for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def the(kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = [one for _, one in documents() if one["kind"] == kind]
    return found


def pods() -> dict[str, dict[str, Any]]:
    """The spec of each pod, by the kind of what makes it."""
    return {
        "Deployment": the("Deployment")["spec"]["template"]["spec"],
        "CronJob": the("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    }


def container(kind: str) -> dict[str, Any]:
    (found,) = pods()[kind]["containers"]
    assert isinstance(found, dict)
    return found


def files() -> dict[str, str]:
    found: dict[str, str] = the("Secret")["stringData"]
    return found


KINDS = pytest.mark.parametrize("kind", ["Deployment", "CronJob"])

# What others check


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_manifest_is_what_the_api_takes_and_no_field_is_unknown(version: str) -> None:
    for path, one in documents():
        kubernetes_validate.validate(one, version, strict=True)
        assert one["metadata"].get("namespace", "keycheck") == "keycheck", path


class KubernetesApi(FakeServer):
    """What kubectl asks before it would apply: which kinds there are, and whether a thing is there already."""

    KINDS: ClassVar = {
        "/api/v1": ["Namespace", "ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim"],
        "/apis/apps/v1": ["Deployment"],
        "/apis/batch/v1": ["CronJob"],
    }

    def serve(self, request: Request) -> Answer:
        path = request.path.rstrip("/")
        if path == "/api":
            return Answer(200, {"kind": "APIVersions", "versions": ["v1"]})
        if path == "/apis":
            return Answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group("apps"), group("batch")]})
        if path in self.KINDS:
            version = path.removeprefix("/apis/").removeprefix("/api/")
            kinds = [
                {"name": f"{kind.lower()}s", "kind": kind, "namespaced": kind != "Namespace", "verbs": ["get", "patch"]}
                for kind in self.KINDS[path]
            ]
            return Answer(200, {"kind": "APIResourceList", "groupVersion": version, "resources": kinds})
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        return Answer(404, missing)


def group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


@pytest.mark.process
@pytest.mark.skipif(
    not HAVE_KUBECTL, reason="there is no kubectl on PATH; on Debian: apt-get install kubernetes-client"
)
def test_kubectl_would_apply_the_folder_and_then_the_cron_job(tmp_path: Path) -> None:
    """A stand-in answers what it asks of a server; kubectl itself reads the files and their order."""
    with KubernetesApi() as server:
        created = [kubectl(server.url, tmp_path, folder) for folder in (TEMPLATES, TEMPLATES / "cronjob")]
    assert created[0] == [
        "namespace/keycheck",
        "serviceaccount/keycheck",
        "configmap/keycheck",
        "deployment.apps/keycheck",
        "secret/keycheck",
    ]
    assert created[1] == ["persistentvolumeclaim/keycheck-cache", "cronjob.batch/keycheck"]


def kubectl(url: str, home: Path, folder: Path) -> list[str]:
    """What `kubectl apply -f FOLDER` would create, in its order."""
    ran = subprocess.run(
        [
            *(shutil.which("kubectl") or "kubectl", "apply", "--dry-run=client", "--validate=false"),
            *("--server", url, "--filename", str(folder)),
        ],
        env={"HOME": str(home), "KUBECONFIG": str(home / "none"), "PATH": "/usr/bin:/bin", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return re.findall(r"^(\S+) created \(dry run\)$", ran.stdout, re.MULTILINE)


# What they let through


@KINDS
def test_a_pod_keeps_all_of_the_restricted_standard_and_writes_to_tmp_and_its_cache_alone(kind: str) -> None:
    """The checks of pod-security-admission's `restricted`, and readOnlyRootFilesystem, which is none of them."""
    spec, one = pods()[kind], container(kind)
    for name in ("hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"):
        assert name not in spec
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {source for volume in spec["volumes"] for source in volume if source != "name"} <= {
        *("secret", "emptyDir", "persistentVolumeClaim")
    }
    assert [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")] == [TMP, CACHE]
    assert not any("hostPort" in port for port in one.get("ports", []))


def test_the_namespace_takes_nothing_else() -> None:
    labels = the("Namespace")["metadata"]["labels"]
    assert labels == {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


@KINDS
def test_a_pod_has_its_service_account_and_no_token_of_kubernetes(kind: str) -> None:
    account = the("ServiceAccount")
    assert pods()[kind]["serviceAccountName"] == account["metadata"]["name"]
    assert pods()[kind]["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False


@KINDS
def test_a_pod_has_bounds(kind: str) -> None:
    resources = container(kind)["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in pods()[kind]["volumes"] if "emptyDir" in volume)


@KINDS
def test_an_image_has_a_version_and_until_it_is_filled_in_no_node_takes_it(kind: str) -> None:
    """Upper case is no part of an image's name: the pod says InvalidImageName."""
    from keycheck import __version__

    assert container(kind)["image"] == f"FILL_IN_REGISTRY/keycheck:{__version__}"


@KINDS
def test_every_volume_is_mounted_and_every_mount_has_its_volume_and_every_item_is_in_the_secret(kind: str) -> None:
    volumes = {volume["name"]: volume for volume in pods()[kind]["volumes"]}
    assert sorted(volumes) == sorted(mount["name"] for mount in container(kind)["volumeMounts"])
    secrets = [volume["secret"] for volume in volumes.values() if "secret" in volume]
    for secret in secrets:
        assert secret["secretName"] == the("Secret")["metadata"]["name"]
        assert secret["defaultMode"] == 0o440
    items = {item["key"] for secret in secrets for item in secret["items"]}
    assert items == set(files()) - (set() if kind == "Deployment" else {"telegraf.conf"})


def mounted(kind: str) -> set[str]:
    """The paths of all files that a pod mounts."""
    where = {mount["name"]: mount["mountPath"] for mount in container(kind)["volumeMounts"]}
    return {
        f"{where[volume['name']]}/{item['path']}"
        for volume in pods()[kind]["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    }


@KINDS
def test_the_paths_in_the_environment_the_settings_and_telegraf_conf_are_those_that_are_mounted(kind: str) -> None:
    environ = {one["name"]: one["value"] for one in container(kind)["env"]}
    named = {environ["AWS_CONFIG_FILE"], *re.findall(r"/etc/keycheck/[\w.-]+", json.dumps(the("ConfigMap")["data"]))}
    if kind == "Deployment":
        named |= set(re.findall(r"/etc/keycheck/[\w.-]+", files()["telegraf.conf"])) | {"/etc/telegraf/telegraf.conf"}
    assert named == mounted(kind)
    assert environ["HOME"] == TMP


def test_the_secrets_files_are_those_of_this_repository() -> None:
    for name, path in {
        "telegraf.conf": "telegraf.conf",
        "aws-config": "aws/config.pod-identity",
        "slack_ID_mapping.py": "keycheck/slack_ID_mapping.py",
    }.items():
        assert files()[name] == (ROOT / path).read_text(encoding="utf-8"), f"secret.yaml: {name} is not {path}"


@KINDS
def test_a_pod_takes_every_setting_from_the_config_map(kind: str) -> None:
    assert container(kind)["envFrom"] == [{"configMapRef": {"name": the("ConfigMap")["metadata"]["name"]}}]
    others = {one["name"] for one in container(kind)["env"]} - {"AWS_CONFIG_FILE", "HOME"}
    assert others == (set() if kind == "Deployment" else {"dump_metric_to_console"})


def test_every_key_of_the_config_map_is_a_setting_and_every_setting_is_there_with_its_meaning() -> None:
    data = the("ConfigMap")["data"]
    assert set(data) == {setting.name for setting in SETTINGS}
    assert all(isinstance(value, str) for value in data.values())
    text = (TEMPLATES / "configmap.yaml").read_text(encoding="utf-8")
    for setting in SETTINGS:
        comment = re.search(rf'^  {setting.name}: ".*"  # (.+)$', text, re.MULTILINE)
        assert comment is not None, setting.name
        assert setting.name.endswith("_file") or comment[1].startswith(setting.meaning), setting.name


def test_the_config_map_as_environment_gives_the_defaults_but_for_what_its_head_names() -> None:
    data = the("ConfigMap")["data"]
    default = Path("default.py")
    named = {
        "cache_dir": Path(CACHE),
        "slack_id_mapping_file": Path("/etc/keycheck/slack_ID_mapping.py"),
        "exemptions_file": Path("/etc/keycheck/exemptions.toml"),
        "credstash_aws_profile_name": "acme-secrets",
        "aws_dynamodb_profile_name": "acme-state",
        "credstash_keyname_slack_api_token": "slack.token",
        "credstash_keyname_atlassian_api_email": "jira.email",
        "credstash_keyname_atlassian_api_token": "jira.token",
    }
    settings = parse(data, default)
    for setting in SETTINGS:
        expected = named.get(setting.name, getattr(parse({}, default), setting.name))
        assert getattr(settings, setting.name) == expected, setting.name
    assert settings.warnings == ()
    assert not settings.acts
    profiles = set(re.findall(r"^\[profile (\S+)\]$", files()["aws-config"], re.MULTILINE))
    assert {"acme-secrets", "acme-state"} <= profiles


@pytest.mark.process
def test_the_files_and_settings_as_they_stand_are_a_silent_audit(world: World, tmp_path: Path) -> None:
    """The real program with the pod's files; only the folder is another one, and the profiles lead into the sandbox."""
    for name, text in files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    settings = {name: value.replace("/etc/keycheck", str(tmp_path)) for name, value in the("ConfigMap")["data"].items()}
    world.aws.add_user("dev_kramer", [197])
    ran = run(world, "acme-dev", **settings)
    assert (ran.code, ran.stderr, len(ran.lines)) == (0, "", 2)


def test_the_pod_waits_for_a_run_that_is_under_way_and_is_never_two() -> None:
    spec = the("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    timeout = re.search(r'^  timeout = "(\d+)s"', files()["telegraf.conf"], re.MULTILINE)
    assert timeout is not None
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= int(timeout[1]) + 10
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_pod_is_probed() -> None:
    one = container("Deployment")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert one[probe]["exec"]["command"] == ["pgrep", "-x", "telegraf"]


def test_the_cron_job_runs_hourly_once_and_says_when_something_failed() -> None:
    spec = the("CronJob")["spec"]
    assert re.fullmatch(r"\d+ \* \* \* \*", spec["schedule"])
    assert (spec["timeZone"], spec["concurrencyPolicy"]) == ("Etc/UTC", "Forbid")
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    timeout = int(the("ConfigMap")["data"]["run_timeout_seconds"])
    assert timeout < job["activeDeadlineSeconds"] <= 3600
    assert spec["startingDeadlineSeconds"] < 3600
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    args = container("CronJob")["args"]
    assert args[:2] == ["/opt/keycheck/iam-accesskey-check.py", "--fail-on-errors"]
    assert "command" not in container("CronJob")  # the image's tini stays in front
    profiles = set(re.findall(r"^\[profile (\S+)\]$", files()["aws-config"], re.MULTILINE))
    assert set(args[2:]) <= profiles
    assert len(the("CronJob")["metadata"]["name"]) <= 52


def test_no_manifest_holds_an_access_key_or_a_token() -> None:
    for path in MANIFESTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"aws_access_key_id|aws_secret|AKIA|xox[a-z]-", text), path
        assert ":latest" not in text
