"""What a `multipart/form-data` request carries: its fields as a form, and one file beside it."""

import hashlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came."""

    name: str
    content: bytes


UPLOAD: Final = web.RequestKey("upload", Upload)


async def text_of(request: web.Request) -> str:
    """The parameters of a POST in Stripe's form encoding. A file is put aside in the request, and stands in the form as
    its hash: a repeat under the same key may draw another boundary."""
    if request.content_type != "multipart/form-data":
        return (await request.read()).decode(errors="replace")
    pairs: list[tuple[str, str]] = []
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            content = value.file.read()
            request[UPLOAD] = Upload(value.filename, content)
            pairs.append((name, hashlib.sha256(content).hexdigest()))
        else:
            pairs.append((name, str(value)))
    return urlencode(sorted(pairs))
