"""Files that were uploaded; Stripe takes them at an address of its own, the simulator at the one that it has."""

import base64
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json
from sandbox.stripe.uploads import UPLOAD

EVIDENCE: Final = "dispute_evidence"
TYPES: Final = {b"%PDF-": "pdf", b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}
SIZE_MAX: Final = 5_000_000  # bytes of one piece of evidence


@dataclass(frozen=True, slots=True)
class Files:
    """Evidence, of which Stripe takes documents and pictures."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("GET", "files", self.listed),
            ("GET", "files/{id}", self.one),
            ("POST", "files", self.create),
        ]

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("file", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "purpose"))
        return page(params.matching(self.machine.store.all("file"), given), given, "/v1/files")

    def create(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("file", "purpose"))
        upload = request.get(UPLOAD)
        if upload is None:
            raise missing_param("file")
        if given.get("purpose") != EVIDENCE:
            raise invalid("Only evidence of disputes is taken here.", param="purpose")
        kind = next((kind for head, kind in TYPES.items() if upload.content.startswith(head)), None)
        if kind is None:
            raise invalid("Evidence is a PDF, a JPEG or a PNG.", param="file")
        if len(upload.content) > SIZE_MAX:
            raise invalid("Evidence may be at most 5 MB large.", param="file")
        made = objects.file(self.machine.store, EVIDENCE, upload.name, kind, len(upload.content))
        content = base64.b64encode(upload.content).decode()
        self.machine.store.put("_file_content", {"id": "cnt_" + made["id"], "content": content})
        return made
