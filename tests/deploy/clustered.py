"""The Kubernetes manifests as a cluster would see them: rendered by kubectl, variables expanded, policies applied."""

import ipaddress
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml

from tests.deploy.composed import DEPLOY, image_environment
from tests.deploy.tools import of_environment

KUBERNETES: Final = DEPLOY / "kubernetes"
OVERLAYS: Final = ("development", "production")
Json = dict[str, Any]  # Any: YAML
_REFERENCE: Final = re.compile(r"\$\(([A-Z_]+)\)")
_LABEL_OF_NAMESPACE: Final = "kubernetes.io/metadata.name"


def kustomized(folder: str) -> "subprocess.CompletedProcess[str]":
    """Run `kubectl kustomize`."""
    command = [of_environment("kubectl"), "kustomize", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@cache
def manifests(overlay: str) -> tuple[Json, ...]:
    """Everything that `overlay` applies."""
    done = kustomized(str(KUBERNETES / "overlays" / overlay))
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, Json]:
    """The manifests of one kind, by name."""
    return {str(m["metadata"]["name"]): m for m in manifests(overlay) if m["kind"] == kind}


@dataclass(frozen=True, slots=True)
class Given:
    """A variable of a container: its text with all references expanded, or where a secret says it."""

    text: str
    secret: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One Deployment, StatefulSet or Job with its only container."""

    overlay: str
    manifest: Json

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def pod(self) -> Json:
        """The specification of its pods."""
        found: Json = self.manifest["spec"]["template"]["spec"]
        return found

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return found

    @property
    def container(self) -> Json:
        (found,) = self.pod["containers"]
        return dict(found)

    @property
    def ports(self) -> dict[str, int]:
        """By name."""
        return {port["name"]: int(port["containerPort"]) for port in self.container.get("ports", [])}

    @property
    def secrets(self) -> set[tuple[str, str]]:
        """(Secret, key) of every variable that one says."""
        return {given.secret for given in self.environment({}).values() if given.secret}

    def environment(self, secrets: Mapping[tuple[str, str], str]) -> dict[str, Given]:
        """What the process sees, `secrets` in place of a cluster's; where none is given, `secret-secret-secret...`.

        As the kubelet does it: a variable sees only those before it.
        """
        found = {
            name: Given(value) for source in self.container.get("envFrom", []) for name, value in self._all(source)
        }
        for entry in self.container.get("env", []):
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                where = (source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
                found[entry["name"]] = Given(secrets.get(where, "secret-" * 8), where)
            elif "configMapKeyRef" in source:
                reference = source["configMapKeyRef"]
                if reference.get("optional") and reference["name"] not in of_kind(self.overlay, "ConfigMap"):
                    continue  # whoever runs it makes it, or does without
                found[entry["name"]] = Given(self._configuration(reference["name"])[reference["key"]])
            else:
                found[entry["name"]] = Given(_REFERENCE.sub(lambda m: found[m[1]].text, str(entry["value"])))
        return found

    def _all(self, source: Json) -> Iterator[tuple[str, str]]:
        yield from self._configuration(source["configMapRef"]["name"]).items()

    def _configuration(self, name: str) -> dict[str, str]:
        found: dict[str, str] = of_kind(self.overlay, "ConfigMap")[name]["data"]
        return found


def workloads(overlay: str) -> dict[str, Workload]:
    """Everything that makes pods, by name."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {name: Workload(overlay, m) for kind in kinds for name, m in of_kind(overlay, kind).items()}


def image_ports() -> dict[str, int]:
    """What our images listen on, by the names that the manifests give."""
    found = image_environment()
    return {"public": int(found["PAYMENTS_PUBLIC_PORT"]), "internal": int(found["PAYMENTS_INTERNAL_PORT"])}


# -- who may talk to whom --------------------------------------------------------------------------------------------


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", "an operator that this reader does not know"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(name) == value for name, value in wanted)


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection: a pod of ours, a pod of another namespace, or an address outside."""

    name: str
    labels: Mapping[str, str] | None = None
    namespace: str = ""
    address: str = ""

    def matches(self, peer: Json) -> bool:
        """Whether a policy that names `peer` means this end."""
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            address = ipaddress.ip_address(self.address) if self.address else None
            within = address is not None and address in ipaddress.ip_network(block["cidr"])
            return within and not any(address in ipaddress.ip_network(e) for e in block.get("except", []))
        if "namespaceSelector" in peer:
            named = {_LABEL_OF_NAMESPACE: self.namespace}
            if not self.namespace or not _selects(peer["namespaceSelector"], named):
                return False
            return "podSelector" not in peer or _selects(peer["podSelector"], self.labels or {})
        return not self.namespace and self.labels is not None and _selects(peer["podSelector"], self.labels)


@dataclass(frozen=True, slots=True)
class Network:
    """The policies of an overlay."""

    overlay: str

    @property
    def policies(self) -> list[Json]:
        return [m["spec"] for m in of_kind(self.overlay, "NetworkPolicy").values()]

    def pods(self) -> list[End]:
        """One pod of each kind, those of RabbitMQ's operator among them."""
        found = [End(name, workload.labels) for name, workload in workloads(self.overlay).items()]
        made = of_kind(self.overlay, "RabbitmqCluster")
        return found + [End(name, {"app.kubernetes.io/name": name}) for name in made]

    def ports(self) -> set[int]:
        """Every port that anything names, and some that nothing does."""
        named = {int(p["port"]) for spec in self.policies for p in _ports(spec)}
        own = {port for workload in workloads(self.overlay).values() for port in workload.ports.values()}
        return named | own | {22, 80, 3306, 6379, 8443, 10250}

    def allows(self, source: End, target: End, port: int) -> bool:
        """Whether a TCP connection may be made. Policies bind our own pods alone."""
        return self._side("Egress", source, target, port) and self._side("Ingress", target, source, port)

    def _side(self, direction: str, own: End, other: End, port: int) -> bool:
        if own.labels is None or own.namespace:
            return True
        binding = [s for s in self.policies if direction in s["policyTypes"] and _selects(s["podSelector"], own.labels)]
        if not binding:
            return True
        rules, peers = direction.lower(), "from" if direction == "Ingress" else "to"
        return any(
            any(other.matches(peer) for peer in rule[peers])
            and any(p["protocol"] == "TCP" and p["port"] == port for p in rule["ports"])
            for spec in binding
            for rule in spec.get(rules, [])
        )


def _ports(spec: Json) -> Iterator[Json]:
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction, []):
            yield from rule["ports"]
