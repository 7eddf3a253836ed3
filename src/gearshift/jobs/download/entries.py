"""The lines of a list: what to fetch, under which name, and what is known of it already.

Apart from the fetching, so that each of millions of lines is judged before a connection is spent on
it. Pure: it opens no file and asks no server.

Invariant: a line that cannot be fetched is an `Entry` with a `fault`, never an exception. One without
a fault has a `request_url` in ASCII, of http or https, with a host. What is shown of a line (by
`redacted`, in a fault, in a repr) holds no credentials and no control characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from urllib.parse import quote, urlsplit, urlunsplit

from gearshift.jobs.download.names import wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Entry", "entries", "entry_of", "headers_of", "numbered", "redacted"]

MOST_URL_CHARACTERS = 2**16  # servers take about 8 KB; libcurl raises above 8 MB
MOST_HOST_CHARACTERS = 253  # of a name in the DNS
PORTS = range(1, 2**16)
SHOWN_CHARACTERS = 120
DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
ALGORITHMS = {digits: algorithm for algorithm, digits in DIGITS.items()}
# The download sets these itself; another value breaks what it promises (whole or not there).
OUR_HEADERS = ("connection", "content-length", "expect", "if-range", "range", "transfer-encoding")
PATH_SAFE = "!$%&'()*+,/:;=@[]~"
QUERY_SAFE = PATH_SAFE + "?"
USER_SAFE = "!$%&'()*+,:;=~"
STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
UNFIT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]*)\]|([^:\[\]]{1,253}))(?::([0-9]{0,5}))?")
HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
HOST_DOTS = re.compile("[.\u3002\uff0e\uff61]")
KEPT_LETTERS = re.compile("[\u00df\u03c2]")  # sharp s and final sigma
HEX = re.compile("[0-9a-f]+")
# An address that is asked for as it is, if its host and port can be: no user, no fragment, nothing to quote.
PLAIN = re.compile(
    r"https?://([a-z0-9.:_-]+)/[\w!$&'()*+,./:;=@~-]*(?:\?[\w!$&'()*+,./:;=@?~-]+)?", re.ASCII
)
HARMLESS = re.compile(r"https?://[a-z0-9.:_-]+/[\w./~+-]*", re.ASCII)  # it holds nothing to hide
MOST_PLACES = 4096
_PLACES: set[str] = set()  # hosts and ports that can be
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
CREDENTIALS = re.compile(
    r"""\A(\s*(?:(?:[^:/?#@\s]*:)?//+)?)      # scheme
        (?:[^/?\#]*@(?=(?:\[[^\]]*\]|[^/?\#@:]+)(?::\d*)?(?:[/?\#]|\Z))  # user, before a host
        |[^/?\#:\[]*:(?!\d*(?:[/?\#]|\Z)).*@)  # or what is no port: a password with a / in it
    """,
    re.VERBOSE | re.DOTALL,
)
SECRETS = re.compile(
    r"""([?&;\#](?:
        [\w.%-]*(?:token|secret|passw(?:or)?d|signature|credentials?|api[_-]?key|accesskeyid)
        |(?:[\w.%-]*[._-])?(?:key|sig|pwd|pass|auth|authorization|otp|pw|code|jwt|sid|session(?:id)?)
        )=)[^&\#]*""",
    re.VERBOSE | re.IGNORECASE,
)


class _FaultError(ValueError):
    """Why a line cannot be fetched; it never leaves this module."""


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One line of a list.

    Attributes:
        url: The address as given, without spaces around it.
        name: The file's name below the folder, safe, with / between folders.
        checksum: Algorithm and digits in lower case, such as `sha256:ab12...`.
        headers: Names and values that go with the request.
        fault: Why it cannot be fetched, or None.
    """

    url: str
    name: str | None = None
    checksum: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    fault: str | None = None

    @property
    def request_url(self) -> str:
        """What is asked for: in ASCII, with punycode and percents, without the fragment.

        Raises:
            ValueError: The entry has a fault, or was not made by `entry_of` and deserves one.
        """
        if self.fault is not None:
            raise ValueError(f"this entry cannot be requested: {self.fault}")
        return _request_url(self.url)

    def __repr__(self) -> str:
        """Show all but credentials: of the headers their names."""
        headers = [name for name, _ in self.headers]
        return (
            f"Entry({_shown(self.url)}, name={self.name!r}, checksum={self.checksum!r}, "
            f"headers={headers}, fault={self.fault!r})"
        )


def entries(given: Iterable[object]) -> Iterator[Entry]:
    """Read a list lazily, one entry for each line, in order.

    Raises:
        TypeError: It is a single line, whose characters would become the lines.
    """
    if isinstance(given, str | bytes | Mapping | Entry):
        raise TypeError(
            f"got one {type(given).__name__} where a list of lines is expected: put it in [ ]"
        )
    return map(entry_of, given)


def numbered(given: Iterable[object]) -> Iterator[tuple[int, Entry]]:
    """Read a list lazily, with the places of its lines; one that tells what is there goes on telling.

    Raises:
        TypeError: As of `entries`.
    """
    source = enumerate(entries(given))
    return Telling(source, given) if hasattr(given, "available") else source


class Telling:
    """Iterates, and says of the iterator behind it how much is there, and when more comes (see `gs.map`)."""

    def __init__(self, items: Iterator[tuple[int, Entry]], teller: Any) -> None:
        """Take what is made of the teller's items, one of each."""
        self._items = items
        self._teller = teller

    def __iter__(self) -> Telling:
        """Return itself."""
        return self

    def __next__(self) -> tuple[int, Entry]:
        """Return the next.

        Raises:
            StopIteration: There is none.
        """
        return next(self._items)

    def available(self) -> int:
        """Return how many are there; the end counts as one."""
        count: int = self._teller.available()
        return count

    def fileno(self) -> int:
        """Return a descriptor that is readable when more come, or -1."""
        number: int = self._teller.fileno()
        return number


def entry_of(given: object) -> Entry:
    """Judge one line; the entry has a `fault` where it cannot be fetched.

    Args:
        given: An address; or a mapping with `url` and, where known, `name`, `checksum` (or `sha256`,
            `sha512`, `sha1`, `md5`) and `headers`, its other keys ignored; or an entry.
    """
    if isinstance(given, Entry):
        if given.fault is not None:
            return given
        given = {name: getattr(given, name) for name in ("url", "name", "checksum", "headers")}
    elif isinstance(given, str):
        given = {"url": given}
    elif not isinstance(given, Mapping):
        kind = type(given).__name__
        return Entry("", fault=f"got {kind}: a line is an address or a mapping with a url")
    url = given.get("url")
    if not isinstance(url, str):
        kind = "no url" if url is None else f"a url of type {type(url).__name__}"
        return Entry("", fault=f"got {kind}: give it as text, such as 'https://example.com/a.jpg'")
    url = url.strip().strip("\ufeff").strip()  # the mark that some editors put before a list
    try:
        _request_url(url)
        name, checksum = _name(given.get("name")), _checksum(given)
        return Entry(url, name, checksum, _headers(given.get("headers")))
    except ValueError as error:
        return Entry(url, fault=str(error))


def headers_of(given: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Return headers that go with every request.

    Raises:
        TypeError: They are no mapping.
        ValueError: One cannot be sent, or is the download's own.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"headers={given!r} is not a mapping, such as {{'Authorization': '...'}}")
    return _headers(given)


def redacted(url: str) -> str:
    """Return an address, or what was meant to be one, as it may be shown and logged.

    Example:
        >>> redacted("https://me:hunter2@example.com/a.jpg?size=9&token=abc")
        'https://***@example.com/a.jpg?size=9&token=***'
    """
    if HARMLESS.fullmatch(url):
        return url
    shown = SECRETS.sub(r"\1***", CREDENTIALS.sub(r"\1***@", url))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _shown(text: str) -> str:
    shown = redacted(text)
    return f"'{shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + '...'}'"


def _request_url(url: str) -> str:
    """Return what is asked for; of most addresses that is what was given, and they take a tenth of the time."""
    plain = PLAIN.fullmatch(url)
    if plain is None:
        return _request_url_of_any(url)
    place = plain[1]
    if place not in _PLACES or len(url) > MOST_URL_CHARACTERS:
        if _request_url_of_any(url) != url:
            return _request_url_of_any(url)
        if len(_PLACES) >= MOST_PLACES:
            _PLACES.clear()
        _PLACES.add(place)
    return url


def _request_url_of_any(url: str) -> str:
    _check_text(url)
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise _FaultError(f"{_shown(url)} has no host that can be read: correct it") from None
    if parts.scheme not in {"http", "https"}:
        is_bare = "://" not in url
        cure = f"write {_shown('https://' + url)} if that is meant" if is_bare else "leave it out"
        what = "has no http:// or https:// before it" if is_bare else f"is of {parts.scheme}://"
        raise _FaultError(f"{_shown(url)} {what}, and only those are fetched: {cure}")
    user, _, place = parts.netloc.rpartition("@")
    place = _place(url, place)
    if user:
        place = f"{_quoted(user, USER_SAFE)}@{place}"
    path, query = _quoted(parts.path or "/", PATH_SAFE), _quoted(parts.query, QUERY_SAFE)
    return urlunsplit((parts.scheme, place, path, query, ""))


def _check_text(url: str) -> None:
    if not url:
        raise _FaultError("the address is empty: give one, such as 'https://example.com/a.jpg'")
    if len(url) > MOST_URL_CHARACTERS:
        raise _FaultError(
            f"{_shown(url)} has {len(url)} characters, more than any server takes "
            f"({MOST_URL_CHARACTERS}): is a line break missing?"
        )
    if found := UNFIT.search(url):
        character, at = found.group(), found.start()
        raise _FaultError(
            f"{_shown(url)} has U+{ord(character):04X} at character {at + 1}, which no address may "
            "hold: write a space as %20, and one address to a line"
        )


def _place(url: str, place: str) -> str:
    found = PLACE.fullmatch(place)
    if found and (not found[3] or int(found[3]) in PORTS):
        with suppress(ValueError):
            host = _host(found[2]) if found[1] is None else f"[{IPv6Address(found[1])}]"
            return f"{host}:{int(found[3])}" if found[3] else host
    raise _FaultError(
        f"{_shown(url)} has no host and port that can be: write a host in parts of 1 to 63 letters, "
        f"digits, - and _ with dots between, and, after a colon, a port from 1 to {PORTS[-1]}"
    )


def _host(name: str) -> str:
    host = ".".join(map(_label, HOST_DOTS.split(name))).encode("idna").decode().lower()
    if len(host) > MOST_HOST_CHARACTERS or not HOST.fullmatch(host):
        raise ValueError
    return host


def _label(label: str) -> str:
    """Encode what Python's idna (of 2003) would turn into another name, as browsers do."""
    if not KEPT_LETTERS.search(label):
        return label
    return "xn--" + normalize("NFC", label.lower()).encode("punycode").decode()


def _quoted(text: str, safe: str) -> str:
    return quote(STRAY_PERCENT.sub("%25", text), safe=safe)


def _name(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str):
        raise _FaultError(f"the name is of type {type(given).__name__}: give it as text")
    name = given.strip()
    return "/".join(wanted(name)) if name else None


def _checksum(given: Mapping[Any, Any]) -> str | None:
    """Return the strongest of those given.

    Raises:
        _FaultError: One is none, or two differ.
    """
    found: dict[str, str] = {}
    for key in ("checksum", *DIGITS):
        value = given.get(key)
        if value is None or value == "":
            continue
        algorithm, digits = _algorithm_and_digits(key, value)
        if found.setdefault(algorithm, digits) != digits:
            raise _FaultError(f"two values of {algorithm} are given, and differ: leave one out")
    if not found:
        return None
    strongest = max(found, key=DIGITS.__getitem__)
    return f"{strongest}:{found[strongest]}"


def _algorithm_and_digits(key: str, value: object) -> tuple[str, str]:
    text = value.strip().lower() if isinstance(value, str) else ""
    said, _, digits = text.rpartition(":")
    algorithm = said.strip().replace("-", "")
    if not algorithm:
        algorithm = ALGORITHMS.get(len(digits), "") if key == "checksum" else key
    is_right = DIGITS.get(algorithm) == len(digits) and HEX.fullmatch(digits)
    if not is_right or key not in {"checksum", algorithm}:
        raise _FaultError(
            f"{key} is {_shown(text) if text else 'no text'}: write sha256: and 64 hexadecimal digits "
            "(sha512: 128, sha1: 40, md5: 32)"
        )
    return algorithm, digits


def _headers(given: object) -> tuple[tuple[str, str], ...]:
    if given is None or given == "":
        return ()
    if isinstance(given, Mapping):
        return tuple(map(_header, given.items()))
    if isinstance(given, list | tuple):
        return tuple(map(_header, given))
    kind = type(given).__name__
    raise _FaultError(f"headers are of type {kind}: give a mapping, or pairs of name and value")


def _header(pair: object) -> tuple[str, str]:
    match pair:  # its value may be a secret, and is never shown
        case [str() as name, str() as value]:
            value = value.strip(" \t")
        case _:
            raise _FaultError("a header is no pair of two texts: give a name and a value")
    if not HEADER_NAME.fullmatch(name):
        raise _FaultError(f"{_shown(name)} cannot name a header: use letters, digits and -")
    if name.lower() in OUR_HEADERS:
        raise _FaultError(f"the header {name} is the download's own to set: leave it out")
    if HEADER_UNFIT.search(value):
        raise _FaultError(f"the header {name} has a line break or control character: take it out")
    return name, value
