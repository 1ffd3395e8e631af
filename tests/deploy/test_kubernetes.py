"""The manifests render, are valid, and agree with the code: services, ports, settings, queues, and who talks to whom.

Rendered by kubectl's own Kustomize; judged by the schemas of Kubernetes, and what is not of Kubernetes itself (KEDA,
RabbitMQ's operator) by the fields that its documentation has.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from yarl import URL

from payments_shared import provision
from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.http.api import HEALTHZ, READYZ
from payments_shared.messaging.topology import Topology
from payments_shared.settings import ServiceSettings
from tests.deploy.clustered import (
    KUBERNETES,
    OVERLAYS,
    End,
    Json,
    Network,
    Workload,
    image_ports,
    kustomized,
    manifests,
    of_kind,
    workloads,
)
from tests.deploy.composed import COMPOSE, DEPLOY, PRODUCTION, containers, owners_variables
from tests.deploy.tools import of_environment

OLDEST: Final = "1.34"  # of Kubernetes: the first in which all that is used here is there by default
PUBLIC: Final = ("checkout", "webhook-ingest", "refunds", "notifications")
POOL: Final = 24  # connections of one process: twenty of its pool, and what relay, listener and sweeps hold
OF_OTHERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ScaledObject": {
        "scaleTargetRef": {"apiVersion", "kind", "name", "envSourceContainerName"},
        "pollingInterval": int,
        "cooldownPeriod": int,
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "fallback": {"failureThreshold", "replicas", "behavior"},
        "advanced": dict,
        "triggers": list,
    },
    "RabbitmqCluster": {
        "replicas": int,
        "image": str,
        "persistence": {"storage", "storageClassName"},
        "resources": {"requests", "limits"},
        "terminationGracePeriodSeconds": int,
        "affinity": {"podAntiAffinity", "podAffinity", "nodeAffinity"},
        "tolerations": list,
        "rabbitmq": {"additionalPlugins", "additionalConfig", "advancedConfig", "envConfig", "erlangInetConfig"},
        "service": {"type", "annotations"},
        "tls": {"secretName", "caSecretName", "disableNonTLSListeners"},
        "override": dict,
    },
    "PodMonitor": {
        "selector": {"matchLabels", "matchExpressions"},
        "namespaceSelector": {"any", "matchNames"},
        "podMetricsEndpoints": list,
        "jobLabel": str,
        "podTargetLabels": list,
        "sampleLimit": int,
    },
    "PrometheusRule": {"groups": list},
}
"""Kind, field of its `spec`, and what it is: a type, or an object with some of these fields."""
TRIGGER: Final = {
    "type": "object",
    "required": ["type", "metadata"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "rabbitmq"},
        "name": {"type": "string"},
        "metadata": {
            "type": "object",
            "required": ["queueName", "mode", "value"],
            "additionalProperties": False,
            "properties": {
                "protocol": {"enum": ["auto", "amqp", "http"]},
                "queueName": {"type": "string"},
                "mode": {"enum": ["QueueLength", "MessageRate"]},
                "value": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
                "activationValue": {"type": "string"},
                "hostFromEnv": {"type": "string"},
                "vhostName": {"type": "string"},
            },
        },
        "metricType": {"enum": ["AverageValue", "Value"]},
        "authenticationRef": {"type": "object", "required": ["name"]},
    },
}
ENDPOINT: Final = {
    "type": "object",
    "required": ["port"],
    "additionalProperties": False,
    "properties": {
        "port": {"type": "string"},
        "path": {"type": "string"},
        "params": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "interval": {"type": "string", "pattern": r"^\d+s$"},
        "scrapeTimeout": {"type": "string", "pattern": r"^\d+s$"},
        "honorLabels": {"type": "boolean"},
        "relabelings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "sourceLabels": {"type": "array", "items": {"type": "string"}},
                    "targetLabel": {"type": "string"},
                    "replacement": {"type": "string"},
                    "regex": {"type": "string"},
                    "action": {"enum": ["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap"]},
                },
            },
        },
    },
}
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
each_service = pytest.mark.parametrize("service", SERVICES)


# -- what is rendered ------------------------------------------------------------------------------------------------


def _with(component: str, folder: Path) -> list[Json]:
    """What production applies with a component."""
    places = [os.path.relpath(KUBERNETES / one, folder) for one in ("overlays/production", f"components/{component}")]
    text = yaml.safe_dump({"resources": places[:1], "components": places[1:], "namespace": "payments"})
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    done = kustomized(str(folder))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _faults(manifest: Json) -> Iterator[str]:
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind not in OF_OTHERS:
        try:
            kubernetes_validate.validate(manifest, OLDEST, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{kind} {manifest['metadata']['name']}: {error.message}"
        return
    for name, value in spec.items():
        shape = OF_OTHERS[kind].get(name)
        if shape is None:
            yield f"{kind}: no field {name}"
        elif isinstance(shape, set):
            yield from (f"{kind}: no field {name}.{inner}" for inner in value.keys() - shape)
        elif not isinstance(value, shape):
            yield f"{kind}: {name} is no {shape.__name__}"
    for trigger in spec.get("triggers", []):
        yield from (f"{kind}: {error.message}" for error in Draft202012Validator(TRIGGER).iter_errors(trigger))
    for endpoint in spec.get("podMetricsEndpoints", []):
        yield from (f"{kind}: {error.message}" for error in Draft202012Validator(ENDPOINT).iter_errors(endpoint))


@each_overlay
def test_every_manifest_is_valid(overlay: str) -> None:
    assert [fault for manifest in manifests(overlay) for fault in _faults(manifest)] == []


def test_a_damaged_manifest_would_be_noticed() -> None:
    texts = [yaml.safe_dump(manifest) for manifest in manifests("production")]
    damage = {
        "terminationGracePeriodSeconds: 40": "terminationGraceSeconds: 40",
        "maxUnavailable: 1": "maxUnavailable: [1]",
        "maxReplicaCount: 4": "maxReplicas: 4",
        "queueName: refunds.work": "queue: refunds.work",
        "additionalConfig:": "extraConfig:",
    }

    for right, wrong in damage.items():
        damaged = next(text for text in texts if right in text).replace(right, wrong)
        assert list(_faults(yaml.safe_load(damaged))), wrong


def test_a_patch_of_nothing_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [gone.yaml]\n")

    assert kustomized(str(tmp_path)).returncode != 0


@each_overlay
def test_every_service_of_the_compose_file_is_deployed_from_its_image_in_a_named_version(overlay: str) -> None:
    composed = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    ours = {name: w for name, w in workloads(overlay).items() if "payments/" in w.container["image"]}
    images = {name: w.container["image"].rpartition(":") for name, w in ours.items()}

    assert ours.keys() - {"mailbox"} == {*SERVICES, "provision"}
    assert composed.keys() >= ours.keys()
    for name, (image, _, tag) in images.items():
        assert image.endswith(f"payments/{'sandbox' if name == 'mailbox' else name}")
        assert tag not in ("", "latest")


def test_images_of_ours_come_from_a_registry_that_is_named_or_are_loaded_and_never_fetched() -> None:
    loaded = [w.container for w in workloads("development").values() if w.container["image"].startswith("payments/")]
    images = [w.container["image"] for w in workloads("production").values()]

    assert len(loaded) == len({*SERVICES, "provision", "mailbox"})
    assert {container["imagePullPolicy"] for container in loaded} == {"Never"}
    assert [image for image in images if not image.startswith("registry.example/")] == []


def test_servers_of_an_own_cluster_are_those_of_the_compose_file() -> None:
    composed = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    found = workloads("development")
    settings = of_kind("development", "ConfigMap")
    (broker,) = (m["data"] for name, m in settings.items() if name.startswith("rabbitmq-"))

    for name in ("postgres", "rabbitmq"):
        assert found[name].container["image"] == composed[name]["image"]
    assert of_kind("production", "RabbitmqCluster")["rabbitmq"]["spec"]["image"] == composed["rabbitmq"]["image"]
    for file in ("rabbitmq.conf", "advanced.config", "enabled_plugins"):
        assert broker[file] == (DEPLOY / "rabbitmq" / file).read_text(encoding="utf-8")


def test_the_cookie_of_the_broker_is_its_own_after_a_restart() -> None:
    """A cluster that lets the group of a volume read all of it does so with each start of a pod, unless it is told."""
    assert workloads("development")["rabbitmq"].pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


# -- ports and probes ------------------------------------------------------------------------------------------------


def settings_of(service: str) -> type[ServiceSettings]:
    settings: type[ServiceSettings] = import_module(f"{schema_name(service)}.settings").Settings
    return settings


@each_overlay
@each_service
def test_ports_are_those_of_the_code(overlay: str, service: str) -> None:
    wanted = image_ports()
    if "public_port" not in settings_of(service).model_fields:
        del wanted["public"]
    spec = of_kind(overlay, "Service")[service]["spec"]

    assert workloads(overlay)[service].ports == wanted
    assert {port["name"]: port["port"] for port in spec["ports"]} == wanted
    assert {port["targetPort"] for port in spec["ports"]} == set(wanted)
    assert spec["selector"].items() <= dict(workloads(overlay)[service].labels).items()


@each_overlay
@each_service
def test_health_is_asked_where_the_code_answers(overlay: str, service: str) -> None:
    container = workloads(overlay)[service].container

    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}

    assert {ask["port"] for ask in asked.values()} == {"internal"}
    assert {name: ask["path"] for name, ask in asked.items()} == {
        "startup": HEALTHZ.path,
        "readiness": READYZ.path,
        "liveness": HEALTHZ.path,  # a restart brings back nothing that is away behind it
    }


@each_overlay
@each_service
def test_there_is_time_to_drain(overlay: str, service: str) -> None:
    workload = workloads(overlay)[service]
    leave = float(_environment(workload)["PAYMENTS_LEAVE_SECONDS"])
    drain = float(settings_of(service).model_fields["drain_seconds"].default)

    assert leave >= 5, "until nobody sends it anything new"
    assert workload.pod["terminationGracePeriodSeconds"] >= leave + drain + 5
    assert workload.manifest["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


# -- settings --------------------------------------------------------------------------------------------------------


def _environment(workload: Workload) -> dict[str, str]:
    live = workload.environment({}).get("PAYMENTS_LIVEMODE")
    mode = "live" if live and live.text == "true" else "test"
    keys = {(name, "stripe-api-key"): f"rk_{mode}_" + "0" * 24 for name in SERVICES}
    return {name: given.text for name, given in workload.environment(keys).items()}


@each_overlay
@each_service
def test_a_service_is_given_every_setting_that_it_demands_and_none_that_it_does_not_know(
    overlay: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, environment = settings_of(service), _environment(workloads(overlay)[service])
    known = {f"PAYMENTS_{name.upper()}" for name in settings.model_fields}
    for name in known:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace(".example", ".test"))  # as whoever applies it replaces them

    try:
        made = settings()
    except ValidationError as error:
        pytest.fail(str(error.errors(include_input=False)))

    assert {name for name in environment if name.startswith("PAYMENTS_")} <= known
    assert made.livemode == (overlay == "production")
    assert (made.database_url.get_secret_value().split(":")[1], made.management_url is not None) == (
        f"//{schema_name(service)}",
        True,
    )


@each_overlay
@each_service
def test_files_that_settings_name_are_mounted_and_cannot_be_written(overlay: str, service: str) -> None:
    workload = workloads(overlay)[service]
    named = {Path(v).parent for name, v in _environment(workload).items() if name.endswith("_FILE")}
    mounts = {Path(m["mountPath"]): m for m in workload.container["volumeMounts"]}

    assert named
    assert named <= mounts.keys()
    assert {path for path, mount in mounts.items() if not mount.get("readOnly")} == {Path("/tmp")}  # noqa: S108 - the pod's own
    assert (Path("/var/lib/payments/checkout-key") in mounts) == (service == "checkout")


@each_overlay
@each_service
def test_a_service_that_keys_something_has_a_secret_of_its_own(overlay: str, service: str) -> None:
    """Also where the settings do without: refunds would know no card again."""
    given = workloads(overlay)[service].environment({}).get("PAYMENTS_SECRET")

    assert (given and given.secret) == ((service, "secret") if "secret" in settings_of(service).model_fields else None)


@each_overlay
def test_provisioning_is_given_what_it_demands_and_the_password_that_each_service_uses(overlay: str) -> None:
    job, services = workloads(overlay)["provision"], workloads(overlay)
    given = job.environment({})
    known = {*provision._VARIABLES, "PAYMENTS_DATABASE_NAME", "PAYMENTS_VHOST"}
    passwords = {name: f"PAYMENTS_PASSWORD_{schema_name(name).upper()}" for name in (*SERVICES, provision.AUDITOR)}

    assert {name for name in given if name.startswith("PAYMENTS_")} == known | set(passwords.values())
    for service in SERVICES:
        assert given[passwords[service]].secret == services[service].environment({})["PASSWORD"].secret
        assert services[service].environment({})["PAYMENTS_DATABASE_URL"].text.partition("?")[0].endswith("/payments")


@each_overlay
def test_secrets_are_named_and_each_is_given_to_one_alone(overlay: str) -> None:
    text = yaml.safe_dump_all(manifests(overlay))
    readers: dict[str, set[str]] = {}
    for name, workload in workloads(overlay).items():
        mounted = {(v["secret"]["secretName"], "") for v in workload.pod.get("volumes", []) if "secret" in v}
        for secret, _ in workload.secrets | mounted:
            readers.setdefault(secret, set()).add(name)

    assert of_kind(overlay, "Secret") == {}
    assert not re.search(r"(?:sk|rk)_(?:live|test)_|whsec_|PRIVATE KEY|://[^$\s/]+:[^$\s@/]+@", text)
    for secret, names in readers.items():
        if secret in ("postgres-administrator", "rabbitmq-default-user"):
            assert "provision" in names
            assert names.isdisjoint(SERVICES)
        else:
            assert names - {"provision"} <= {secret.removesuffix("-key")}


@each_overlay
def test_the_page_lists_every_secret_and_configuration_that_is_to_be_made(overlay: str) -> None:
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| `([a-z-]+)` \| (.+?) \|", page, re.MULTILINE)
    listed = {(name, key) for kind, name, keys in rows if kind == "Secret" for key in re.findall(r"`([^`]+)`", keys)}
    maps = {name for kind, name, _ in rows if kind == "ConfigMap"}
    found = workloads(overlay).values()
    volumes = [volume for workload in found for volume in workload.pod.get("volumes", [])]
    secrets = {pair for each in OVERLAYS for workload in workloads(each).values() for pair in workload.secrets}
    made = of_kind(overlay, "ConfigMap")

    assert secrets | {("checkout-key", "checkout.pem")} == listed
    assert {v["configMap"]["name"] for v in volumes if "configMap" in v} - made.keys() <= maps


# -- closed pods -----------------------------------------------------------------------------------------------------


@each_overlay
def test_every_pod_keeps_to_the_restricted_profile_and_has_limits(overlay: str) -> None:
    for name, workload in workloads(overlay).items():
        pod, container = workload.pod["securityContext"], workload.container["securityContext"]
        assert (pod["runAsNonRoot"], pod["seccompProfile"]) == (True, {"type": "RuntimeDefault"}), name
        assert pod["runAsUser"] >= 999
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
        assert container.get("readOnlyRootFilesystem") or name == "rabbitmq"
        assert workload.container["resources"]["limits"]["memory"]
        assert workload.container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert not any("hostPath" in volume for volume in workload.pod.get("volumes", []))
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & workload.pod.keys()


@each_overlay
def test_no_pod_holds_a_token_of_the_cluster(overlay: str) -> None:
    accounts = of_kind(overlay, "ServiceAccount")

    for name, workload in workloads(overlay).items():
        assert workload.pod["automountServiceAccountToken"] is False, name
        assert workload.pod["enableServiceLinks"] is False
    for name in (*SERVICES, "provision"):
        assert workloads(overlay)[name].pod["serviceAccountName"] == name
        assert accounts[name]["automountServiceAccountToken"] is False
    assert not {m["kind"] for m in manifests(overlay)} & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@each_overlay
@each_service
def test_replicas_are_spread_and_taken_away_one_at_a_time(overlay: str, service: str) -> None:
    workload, budget = workloads(overlay)[service], of_kind(overlay, "PodDisruptionBudget")[service]["spec"]

    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= dict(workload.labels).items()
    spread = workload.pod["topologySpreadConstraints"]
    assert {rule["topologyKey"] for rule in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for rule in spread:
        assert rule["labelSelector"]["matchLabels"].items() <= dict(workload.labels).items()
        assert "app.kubernetes.io/name" in rule["matchLabelKeys"], "or all services together would be spread"


# -- who talks to whom -----------------------------------------------------------------------------------------------

WITH_LOGINS: Final = (*SERVICES, "provision")
WITHIN: Final = {
    *((name, "rabbitmq", port) for name in WITH_LOGINS for port in (5672, 15672)),
    *(("rabbitmq", "rabbitmq", port) for port in (4369, 25672)),
    ("checkout", "inventory", 9000),
    *(("operations", name, 9000) for name in SERVICES),
    ("operations", "refunds", 8000),
}
FROM_OTHERS: Final = {
    *(("ingress", name, 8000) for name in PUBLIC),
    *(("monitoring", name, 9000) for name in SERVICES),
    ("monitoring", "rabbitmq", 15692),
}
"""As docs/architecture.md tells it: one database, one broker, one call between services, four doors; and the console
asks all services how they are."""


def _allowed(network: Network, sources: list[End], targets: list[End]) -> set[tuple[str, str, int]]:
    return {
        (source.name, target.name, port)
        for source in sources
        for target in targets
        for port in network.ports()
        if network.allows(source, target, port)
    }


def _namespaces() -> list[End]:
    names = ("ingress", "monitoring", "keda", "kube-system", "default", "elsewhere")
    return [End(name, {"app.kubernetes.io/name": "checkout"}, namespace=name) for name in names]


def test_within_an_own_cluster_nobody_talks_to_anybody_else() -> None:
    network = Network("development")
    servers = {(name, "postgres", 5432) for name in WITH_LOGINS}

    assert _allowed(network, network.pods(), network.pods()) == WITHIN | servers | {("notifications", "mailbox", 2525)}
    assert _allowed(network, _namespaces(), network.pods()) == FROM_OTHERS


def test_in_production_nobody_talks_to_anybody_else() -> None:
    network = Network("production")

    assert _allowed(network, network.pods(), network.pods()) == WITHIN
    assert _allowed(network, _namespaces(), network.pods()) == FROM_OTHERS | {("keda", "rabbitmq", 5672)}


def test_in_production_a_certificate_can_be_proven_and_looked_at() -> None:
    network = Network("production")
    solver = End("solver", {"acme.cert-manager.io/http01-solver": "true"})
    door = End("controller", {"app.kubernetes.io/name": "ingress-nginx"}, namespace="ingress")

    assert _allowed(network, _namespaces(), [solver]) == {("ingress", "solver", 8089)}
    assert _allowed(network, [*network.pods(), solver], [door]) == {
        ("operations", "controller", p) for p in (443, 8443)
    }
    assert _allowed(network, network.pods(), [solver]) == _allowed(network, [solver], network.pods()) == set()


def test_a_shops_pages_may_call_the_front_door_and_rates_come_from_where_one_machine_has_them(tmp_path: Path) -> None:
    told = workloads("production")["checkout"].environment({})
    composed = containers(owners_variables(tmp_path), (COMPOSE, PRODUCTION))["checkout"].environment

    assert told["PAYMENTS_ALLOWED_ORIGINS"] == told["PAYMENTS_SHOP_ORIGIN"]
    assert composed["PAYMENTS_ALLOWED_ORIGINS"] == composed["PAYMENTS_SHOP_ORIGIN"]
    assert told["PAYMENTS_RATES_URL"].text == composed["PAYMENTS_RATES_URL"]


@each_overlay
def test_outside_are_stripe_and_mail_and_sign_in_and_the_database_alone(overlay: str) -> None:
    network = Network(overlay)
    world = [End("world", address="54.187.174.169"), End("inside", address="10.1.2.3")]
    world += [End("metadata", address="169.254.169.254"), End("postgres", address="10.20.0.5")]

    allowed = _allowed(network, network.pods(), world)

    stripe = {(name, "world", 443) for name in ("checkout", "refunds", "webhook-ingest", "operations")}
    own = {("notifications", "world", 587), *((name, "postgres", 5432) for name in WITH_LOGINS)}
    assert allowed == stripe | (own if overlay == "production" else set())


@each_overlay
def test_every_address_that_a_pod_is_given_can_be_reached(overlay: str) -> None:
    network = Network(overlay)
    ends = {end.name: end for end in network.pods()}
    found = set()
    for name, workload in workloads(overlay).items():
        for given in workload.environment({}).values():
            for host, port in re.findall(r"([a-z-]+)\.payments\.svc:(\d+)", given.text):
                found.add((host, int(port)))
                assert network.allows(ends[name], ends[host], int(port)), f"{name} cannot reach {host}:{port}"

    assert found >= {("rabbitmq", 5672), ("rabbitmq", 15672), ("inventory", 9000)}


def test_a_policy_left_out_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Network("development").policies
    for left_out in whole:
        monkeypatch.setattr(Network, "policies", [spec for spec in whole if spec is not left_out])
        network = Network("development")
        outside = [End("world", address="54.187.174.169"), End("kube-dns", {"k8s-app": "kube-dns"}, "kube-system")]
        within = _allowed(network, network.pods(), [*network.pods(), *outside])
        servers = {(name, "postgres", 5432) for name in WITH_LOGINS} | {("notifications", "mailbox", 2525)}
        stripe = {(name, "world", 443) for name in ("checkout", "refunds", "webhook-ingest", "operations")}
        names = {(end.name, "kube-dns", 53) for end in network.pods()}
        same = within == WITHIN | servers | stripe | names
        assert not same or _allowed(network, _namespaces(), network.pods()) != FROM_OTHERS, left_out


@each_overlay
def test_the_way_in_leads_where_the_front_door_leads(overlay: str) -> None:
    caddyfile = (DEPLOY / "frontdoor" / "Caddyfile").read_text(encoding="utf-8")
    pairs = re.findall(r"@(\w+) path (.+)\n\thandle @\1 \{[^}]*?reverse_proxy ([a-z-]+):(\d+)", caddyfile)
    door = {(path.removesuffix("*").rstrip("/"), target) for _, paths, target, _ in pairs for path in paths.split()}
    (rule,) = of_kind(overlay, "Ingress")["front-door"]["spec"]["rules"]
    led = {(path["path"].rstrip("/"), path["backend"]["service"]["name"]) for path in rule["http"]["paths"]}
    prefixes = {path["path"].rstrip("/") for path in rule["http"]["paths"] if path["pathType"] == "Prefix"}

    assert len(door) == 7
    assert led == door
    assert prefixes == {p.removesuffix("/*") for _, paths, _, _ in pairs for p in paths.split() if p.endswith("/*")}
    assert {path["backend"]["service"]["port"]["name"] for path in rule["http"]["paths"]} == {"public"}


def test_what_postgresql_must_take_is_what_provisioning_allows() -> None:
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    logins = [*SERVICES, provision.AUDITOR]
    reserved = 3  # PostgreSQL's own `superuser_reserved_connections`

    assert f"eight logins with {provision.LOGIN_CONNECTIONS} each" in page
    assert len(logins) == 8
    assert f"`max_connections` of {len(logins) * provision.LOGIN_CONNECTIONS + reserved} or more" in page


def test_in_production_the_way_in_has_a_certificate_for_its_name() -> None:
    spec = of_kind("production", "Ingress")["front-door"]["spec"]
    (rule,) = spec["rules"]

    assert [entry["hosts"] for entry in spec["tls"]] == [[rule["host"]]]


def test_the_console_has_a_door_only_where_somebody_asks_for_one(tmp_path: Path) -> None:
    made = _with("console", tmp_path)
    known = [(m["kind"], m["metadata"]["name"]) for m in manifests("production")]
    added = {m["kind"]: m for m in made if (m["kind"], m["metadata"]["name"]) not in known}

    assert {(kind, m["metadata"]["name"]) for kind, m in added.items()} == {
        ("Ingress", "console-door"),
        ("NetworkPolicy", "console-door"),
    }
    (rule,), (way,) = added["Ingress"]["spec"]["rules"], added["NetworkPolicy"]["spec"]["ingress"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "operations", "port": {"name": "public"}}
    assert [entry["hosts"] for entry in added["Ingress"]["spec"]["tls"]] == [[rule["host"]]]
    assert added["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "operations"
    assert [port["port"] for port in way["ports"]] == [8000]
    assert way["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]


def test_the_console_is_told_what_the_identity_provider_calls_it() -> None:
    (container,) = of_kind("production", "Deployment")["operations"]["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("valueFrom", {}).get("configMapKeyRef", {}) for one in container["env"]}

    for variable, key in (
        ("CLIENT_ID", "oidc-client-id"),
        ("ROLES_CLAIM", "oidc-roles-claim"),
        ("SCOPE", "oidc-scope"),
    ):
        assert told[f"PAYMENTS_OIDC_{variable}"] == {"name": "console", "key": key, "optional": True}


# -- growing ---------------------------------------------------------------------------------------------------------


def test_every_service_grows_by_one_rule_and_never_beyond_the_connections_of_its_login() -> None:
    by_processor = of_kind("production", "HorizontalPodAutoscaler")
    by_queue = of_kind("production", "ScaledObject")
    most = {
        **{name: m["spec"]["maxReplicas"] for name, m in by_processor.items()},
        **{name: m["spec"]["maxReplicaCount"] for name, m in by_queue.items()},
    }

    assert by_processor.keys() == {"webhook-ingest", "checkout"}
    assert most.keys() == set(SERVICES)
    assert len(by_processor) + len(by_queue) == len(SERVICES)
    for name, m in {**by_processor, **by_queue}.items():
        assert m["spec"]["scaleTargetRef"] | {"envSourceContainerName": ""} == {
            "apiVersion": "apps/v1", "kind": "Deployment", "name": name, "envSourceContainerName": "",
        }  # fmt: skip
        assert "replicas" not in workloads("production")[name].manifest["spec"], "applying it would undo the growth"
        surge = workloads("production")[name].manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        assert (most[name] + surge) * POOL <= provision.LOGIN_CONNECTIONS
    assert {m["spec"]["minReplicas"] for m in by_processor.values()} == {2}
    assert {m["spec"]["minReplicaCount"] for m in by_queue.values()} == {2}


def test_who_hears_grows_with_each_of_its_queues_and_asks_with_its_own_login() -> None:
    for service, manifest in of_kind("production", "ScaledObject").items():
        asked = [trigger["metadata"] for trigger in manifest["spec"]["triggers"]]
        queues = {queue.name for queue in Topology.of(service).queues}

        assert service in CONSUMERS
        assert {ask["queueName"] for ask in asked} == {q for q in queues if q.endswith((".events", ".work"))}
        assert {ask["hostFromEnv"] for ask in asked} == {"PAYMENTS_AMQP_URL"}
        assert (
            manifest["spec"]["scaleTargetRef"]["envSourceContainerName"]
            == (workloads("production")[service].container["name"])
        )
        url = workloads("production")[service].environment({})["PAYMENTS_AMQP_URL"].text
        assert ".svc:" in url, "KEDA asks from another namespace"


def test_the_broker_has_three_nodes_on_three_machines_and_survives_one() -> None:
    spec = of_kind("production", "RabbitmqCluster")["rabbitmq"]["spec"]
    lines = dict(line.split(" = ") for line in spec["rabbitmq"]["additionalConfig"].splitlines())
    *_, advanced = (DEPLOY / "rabbitmq/advanced.config").read_text(encoding="utf-8").splitlines()
    (apart,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert spec["replicas"] == 3
    assert spec["rabbitmq"]["advancedConfig"].strip() == advanced
    assert lines["cluster_partition_handling"] == "pause_minority"
    assert lines["quorum_queue.continuous_membership_reconciliation.target_group_size"] == str(spec["replicas"])
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert set(spec["rabbitmq"]["additionalPlugins"]) == {"rabbitmq_management", "rabbitmq_prometheus"}
    assert of_kind("production", "PodDisruptionBudget")["rabbitmq"]["spec"]["maxUnavailable"] == 1
    for service in CONSUMERS:
        assert {queue.arguments["x-queue-type"] for queue in Topology.of(service).queues} == {"quorum"}


# -- secrets for trying out ------------------------------------------------------------------------------------------


def test_what_is_made_for_trying_out_is_what_the_overlay_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"STRIPE_API_KEY": "sk_test_" + "0" * 24, "STRIPE_WEBHOOK_SECRET": "whsec_" + "0" * 24}
    done = subprocess.run(
        [KUBERNETES / "make-secrets", tmp_path], env={**os.environ, **keys}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    made = [document for document in yaml.safe_load_all(done.stdout) if document]
    secrets = {
        (m["metadata"]["name"], key): base64.b64decode(value).decode()
        for m in made
        if m["kind"] == "Secret"
        for key, value in m["data"].items()
    }
    found = workloads("development")

    assert {m["metadata"]["namespace"] for m in made} == {"payments"}
    without_console = {s for w in found.values() for s in w.secrets} - {("operations", "oidc-client-secret")}
    assert secrets.keys() - {("checkout-key", "checkout.pem")} == without_console
    passwords = [value for (_, key), value in secrets.items() if key == "password"]
    assert len(set(passwords)) == len(passwords)
    assert min(map(len, passwords)) >= provision.PASSWORD_MIN
    assert [list(m["data"]) for m in made if m["kind"] == "ConfigMap"] == [["jwks.json"]]
    for service in SERVICES:
        with monkeypatch.context() as patch:
            for name, given in found[service].environment(secrets).items():
                patch.setenv(name, given.text)
            assert settings_of(service)().livemode is False


def test_keys_are_made_for_production_as_the_page_says(tmp_path: Path) -> None:
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(mkdir .*?service_keys\n.*?)```\n", page, re.DOTALL)
    (tmp_path / "people.jwks.json").write_text('{"keys": []}')
    words = f'kubectl() {{ if [ $1 = apply ]; then cat; else {of_environment("kubectl")} "$@"; fi; }}\n'
    script = words + block.replace(".venv/bin/python", sys.executable)

    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )

    _, _, applied = done.stdout.partition("apiVersion")
    secret, keys = yaml.safe_load_all("apiVersion" + applied.replace("\napiVersion", "\n---\napiVersion"))
    assert (secret["kind"], secret["metadata"]["name"], list(secret["data"])) == (
        "Secret",
        "checkout-key",
        ["checkout.pem"],
    )
    assert (keys["kind"], keys["metadata"]["name"], list(keys["data"])) == ("ConfigMap", "jwks", ["jwks.json"])
    assert {secret["metadata"]["namespace"], keys["metadata"]["namespace"]} == {"payments"}
    assert [key["kid"] for key in json.loads(keys["data"]["jwks.json"])["keys"]] == ["checkout"]


def test_spans_go_to_a_collector_only_where_somebody_asks_for_it(tmp_path: Path) -> None:
    made = _with("tracing", tmp_path)
    (given,) = [m for m in made if m["kind"] == "ConfigMap" and m["metadata"]["name"].startswith("settings-")]
    (before,) = [
        m for m in manifests("production") if m["kind"] == "ConfigMap" and m["metadata"]["name"].startswith("settings-")
    ]
    (way,) = [m for m in made if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == "to-collector"]

    added = {name: value for name, value in given["data"].items() if name not in before["data"]}
    assert added.keys() == {"PAYMENTS_OTLP_ENDPOINT", "PAYMENTS_OTLP_SAMPLE_RATIO"}
    assert all(name.removeprefix("PAYMENTS_").lower() in ServiceSettings.model_fields for name in added)
    assert given["data"].items() > before["data"].items()
    (rule,) = way["spec"]["egress"]
    place = URL(added["PAYMENTS_OTLP_ENDPOINT"])
    assert (place.host, place.port) == ("collector.tracing.svc", rule["ports"][0]["port"])
    assert rule["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "tracing"}


# -- alerts ----------------------------------------------------------------------------------------------------------


def _endpoints(made: list[Json]) -> dict[str, Json]:
    """What each job asks, by its name."""
    found = {}
    for monitor in (m for m in made if m["kind"] == "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            (job,) = [rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"]
            found[job] = {**endpoint, "pods": monitor["spec"]["selector"]["matchLabels"]}
    return found


def test_prometheus_operator_asks_what_the_compose_files_prometheus_asks_under_the_same_jobs(tmp_path: Path) -> None:
    made = _with("monitoring", tmp_path)
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"] if job["job_name"] != "prometheus"}
    door = jobs.pop("front-door")  # the way in is the cluster's own, as the page says
    asked = _endpoints(made)

    assert [fault for manifest in made for fault in _faults(manifest)] == []
    assert {m["kind"] for m in made if m not in manifests("production")} == {"PodMonitor", "NetworkPolicy"}
    assert asked.keys() == jobs.keys()
    for name, job in jobs.items():
        assert (asked[name]["path"], asked[name].get("params")) == (
            job.get("metrics_path", "/metrics"),
            job.get("params"),
        )
        assert asked[name]["interval"] == config["global"]["scrape_interval"]
    labels = {"targetLabel": "service", "sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]}
    assert labels in asked["payments"]["relabelings"]
    watched = [
        name
        for name, workload in workloads("production").items()
        if asked["payments"]["pods"].items() <= dict(workload.labels).items()
    ]
    assert sorted(watched) == sorted(SERVICES)
    for service in SERVICES:
        assert workloads("production")[service].labels["app.kubernetes.io/name"] == service
        assert asked["payments"]["port"] in workloads("production")[service].ports
    assert asked["rabbitmq"]["port"] in workloads("development")["rabbitmq"].ports
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in [*jobs, door["job_name"]])


def test_a_damaged_target_would_be_noticed(tmp_path: Path) -> None:
    text = next(yaml.safe_dump(m) for m in _with("monitoring", tmp_path) if m["kind"] == "PodMonitor")

    for right, wrong in {
        "targetLabel": "target_label",
        "interval: 15s": "interval: 15",
        "port:": "targetPort:",
    }.items():
        assert list(_faults(yaml.safe_load(text.replace(right, wrong)))), wrong


def test_the_rules_are_handed_to_the_operator_as_the_page_says() -> None:
    page = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n( *\{ printf .*?) \| kubectl apply -f -\n", page, re.DOTALL)

    done = subprocess.run(
        ["bash", "-euc", block], cwd=DEPLOY.parent, capture_output=True, text=True, check=True, timeout=20
    )

    made = yaml.safe_load(done.stdout)
    assert list(_faults(made)) == []
    assert made["spec"] == yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text(encoding="utf-8"))


def test_operations_reaches_prometheus_where_its_alerts_are_asked_for(tmp_path: Path) -> None:
    (way,) = [m for m in _with("monitoring", tmp_path) if m["metadata"]["name"] == "operations-to-prometheus"]
    (container,) = of_kind("production", "Deployment")["operations"]["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one.get("valueFrom", {}).get("configMapKeyRef", {}) for one in container["env"]}

    assert told["PAYMENTS_PROMETHEUS_URL"] == {"name": "console", "key": "prometheus-url", "optional": True}
    assert way["spec"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "operations"}
    (rule,) = way["spec"]["egress"]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert "`prometheus-url`" in (KUBERNETES / "README.md").read_text(encoding="utf-8")
