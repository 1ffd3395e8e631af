"""`payctl dispute-evidence | dispute-submit`: what proves a disputed payment, and handing it in."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from operations.decide.amounts import money
from operations.payctl.app import AsJson, FrontDoorUrl, Json, TokenFile, call, download, fail, plain, show_json, table

EVIDENCE: Final = "/api/payments/disputes/{}/evidence"
DisputeId = Annotated[str, typer.Argument(help="The dispute, as Stripe names it: du_… or dp_….")]


def dispute_evidence(
    dispute_id: DisputeId,
    url: FrontDoorUrl,
    token_file: TokenFile,
    *,
    pdf: Annotated[Path | None, typer.Option(help="Write the document that the bank gets to this file.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write everything to this file, as JSON.")] = None,
) -> None:
    """What proves a disputed payment. Look at it, then hand it in by its digest."""
    found = call(url, token_file, "GET", EVIDENCE.format(dispute_id))
    if json_ is not None:
        _write(json_, json.dumps(found, indent=2, ensure_ascii=False).encode() + b"\n")
    if pdf is not None:
        _write(pdf, download(url, token_file, EVIDENCE.format(dispute_id) + ".pdf"))
    pack = found["pack"]
    dispute = pack["dispute"]
    amount = money(dispute["amount_minor"], dispute["currency"])
    told = f"{amount}, {dispute['reason']}, due {dispute['due_by'] or 'never'}"
    sys.stdout.write(f"{dispute['id']}: {told}\ndigest {pack['digest']}\n")
    table("Texts", {"name": "Field", "text": "Text"}, [_row(*item) for item in pack["evidence"].items()])
    heads = {"created_at": "Time", "status": "Status", "submit": "Submitted", "actor": "By", "reason": "Reason"}
    table("Handed in", {**heads, "refusal": "Refused with"}, found["submissions"])


def dispute_submit(
    dispute_id: DisputeId,
    url: FrontDoorUrl,
    token_file: TokenFile,
    *,
    digest: Annotated[str, typer.Option(help="Of the pack that you looked at, as `dispute-evidence` printed it.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with your name.")],
    texts: Annotated[
        Path | None, typer.Option(help="JSON with your own words by field; an empty text takes one away.")
    ] = None,
    stage: Annotated[bool, typer.Option("--stage", help="Let it lie ready at Stripe; send it to nobody yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hand in the evidence of a dispute, which its bank takes once. The same command again changes nothing."""
    body: Json = {"digest": digest, "reason": reason, "submit": not stage}
    if texts is not None:
        body["texts"] = _read(texts)
    wish = json.dumps([dispute_id, body], sort_keys=True).encode()
    key = {"Idempotency-Key": hashlib.sha256(wish).hexdigest()}
    found = call(url, token_file, "POST", EVIDENCE.format(dispute_id), body, headers=key)
    if as_json:
        show_json(found)
    else:
        sys.stdout.write(
            f"{found['submission_id']}: on its way to Stripe; `payctl dispute-evidence` shows its answer\n"
        )


def _row(name: str, text: str) -> Json:
    return {"name": name, "text": plain(text)}


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        fail(f"{file}: {error}", 2)


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}", 2)
