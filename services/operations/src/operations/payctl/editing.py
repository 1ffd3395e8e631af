"""`payctl dlq edit`."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from operations.payctl.app import AsJson, Json, TokenFile, Url, call, fail, show_json
from operations.payctl.selecting import DryRun, Force, Reason


def edit(
    letter_id: str,
    url: Url,
    token_file: TokenFile,
    *,
    reason: Reason,
    patch: Annotated[
        Path | None,
        typer.Option(
            help='A JSON merge patch for the whole message, such as {"data": {"note": null}}; - for stdin. '
            "Without it your editor opens.",
            allow_dash=True,
        ),
    ] = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Send a corrected copy in place of the original. The envelope and everything about money stay as they are; the
    copy must keep to its contract. When it takes effect, the original is resolved.

    It is refused while nobody has told how the last replay ended: that may still take effect.
    """
    letter = call(url, token_file, "GET", f"/admin/dead-letters/{letter_id}")
    edited = _in_editor(letter["body"]) if patch is None else merged(_message(letter["body"]), _patch(patch))
    request = {"body": edited, "reason": reason, "force": force, "dry_run": dry_run}
    answer = call(url, token_file, "POST", f"/admin/dead-letters/{letter_id}/edit", request)
    if as_json:
        show_json(answer)
        return
    for change in answer["changes"]:
        sys.stdout.write(f"{change['pointer']}: {json.dumps(change['from'])} → {json.dumps(change['to'])}\n")
    sys.stdout.write("nothing was sent\n" if dry_run else f"sent as replay {answer['replay_id']}\n")


def merged(target: Any, patch: Any) -> Any:  # Any: JSON
    """`target` with a JSON merge patch. Source: RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def _patch(path: Path) -> Any:  # Any: JSON
    return _parsed(sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8"), "the patch")


def _message(body: str) -> Any:  # Any: JSON
    """The original, or nothing when it is no JSON: the patch is then the whole message."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _in_editor(body: str) -> Json:
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        text = body
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "message.json"
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            ended = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode
        except OSError:
            fail(f"there is no editor {editor} here, nothing was sent; give --patch", 1)
        if ended != 0:
            fail("the editor failed, nothing was sent", 1)
        changed = file.read_text(encoding="utf-8")
    if changed == text:
        fail("nothing was changed, nothing was sent", 1)
    found: Json = _parsed(changed, "the edited message")
    return found


def _parsed(text: str, what: str) -> Any:  # Any: JSON
    try:
        return json.loads(text)
    except ValueError as error:
        fail(f"{what} is not JSON: {error}", 2)
