"""Who is one person, however his names are written. Pure."""

import re
import unicodedata
from typing import Final

_UNSEEN: Final = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]"
)
_LOOKALIKES: Final = str.maketrans(
    "\u0430\u0432\u0435\u0456\u0458\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u04bb\u04cf\u0501\u051b"
    "\u051d\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u0131",
    "abeijkmhopctyxshldqwabezhikmvoptyxi",
)
"""Letters of the Cyrillic and Greek alphabets that look like Latin ones, as capitals or small, and the i without a dot.

Source: Unicode Technical Standard 39, "Unicode Security Mechanisms", confusables of the letters `a` to `z`.
"""


def mailboxes_of(*names: str | None) -> frozenset[str]:
    """The names of one person, those that there are, as mailboxes: some tokens have an address as their subject, and a
    subject without an `@` is a name of its own. Two people are one where any of their names is the same."""
    return frozenset(mailbox_of(name) for name in names if name is not None)


def subject_of(subject: str) -> str:
    """A subject in the one form that all its spellings have. Compatible characters are the same (NFKC), and so are
    capital and small letters, and letters that look like Latin ones; white space and what cannot be seen is left out.
    refunds' database says it again as `identity_of`."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", subject).casefold())
    return _UNSEEN.sub("", folded).translate(_LOOKALIKES)


def mailbox_of(email: str) -> str:
    """The mailbox that an address delivers to, in the one form as above: without its tag, which follows a `+`. Dots
    count: only some providers pass over them, and with others `j.doe` and `jdoe` are two people."""
    local, at, domain = subject_of(email).rpartition("@")
    return local.partition("+")[0] + at + domain
