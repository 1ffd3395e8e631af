"""`make sbom` lists the Python packages that are deployed, all and no others, with the hashes by which they are
installed."""

import json
import re
import subprocess
from pathlib import Path

from tests.deploy.composed import ROOT


def _pinned(lock: str) -> set[tuple[str, str]]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {(name, version) for name, version in re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def test_the_bill_of_materials_is_that_of_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "payments.cdx.json"
    command = ["make", "-s", "-o", "setup", "sbom", f"SBOM={file}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    bill = json.loads(file.read_text(encoding="utf-8"))
    components = bill["components"]

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "payments")
    assert {(entry["name"], entry["version"]) for entry in components} == _pinned("requirements.lock")
    assert _pinned("requirements.lock") < _pinned("requirements-dev.lock"), "what tests need is not deployed"
    for entry in components:
        hashes = [each["alg"] for reference in entry["externalReferences"] for each in reference.get("hashes", [])]
        assert set(hashes) == {"SHA-256"}, entry["name"]
        assert entry["purl"] == f"pkg:pypi/{entry['name']}@{entry['version']}"
    assert "timestamp" not in bill["metadata"], "the same lock gives the same bill"
