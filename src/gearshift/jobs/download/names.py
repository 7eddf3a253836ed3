"""File names: found in what a server says, and made safe. Pure: a list and a server may say anything.

Invariant: every component that leaves this module is what `safe` makes of itself: a name of at most
200 bytes that on no system leads out of its folder, hides, or means a device.
"""

from __future__ import annotations

import re
from string import Formatter
from unicodedata import normalize
from urllib.parse import unquote, unquote_to_bytes, urlsplit

__all__ = ["Template", "name_of", "numbered", "safe", "wanted"]

MOST_BYTES = 200  # file systems take 255; the rest is for our own temporary names
MOST_PATH_BYTES = 2000  # Linux takes 4096 with the folder before it
NUMBER_BYTES = 12  # of " (99999999)"
READ_CHARACTERS = 4096  # of a name or header: normalising a long one takes its length squared
# What Windows drops from an end, and people cannot see there; a dot at the beginning hides.
EDGES = " .\u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
UNSEEN = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")  # turn the text around
UNFIT = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff<>:"/\\|?*]')
DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|con(in|out)\$) *(\.|$)", re.IGNORECASE)
EXTENSION = re.compile(r"(.+?)((?:\.tar)?\.[\w+-]{1,16})", re.DOTALL | re.IGNORECASE)
# An address whose last part is a name that is safe as it is.
PLAIN = re.compile(
    r"https?://[^/?#]+/(?:[^?#%\\]*/)?(\w[\w-]{0,99}(?:\.[\w-]{1,16}){1,2})", re.ASCII
)
SEPARATORS = re.compile(r"[/\\]")
PARAMETER = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
ESCAPED = re.compile(r'\\(["\\])')  # before anything else it is a folder's, from Windows
CHARSETS = (  # Python's others include zip, and worse
    *("utf-8", "utf8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "windows-1251"),
    *("koi8-r", "gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"),
)
KINDS = """
    image/avif image/bmp image/gif image/heic image/jpeg:jpg image/jxl image/png image/svg+xml:svg
    image/tiff:tif image/webp image/x-icon:ico text/css text/csv text/html text/plain:txt text/xml
    application/gzip:gz application/json application/pdf application/xml application/zip
"""
EXTENSIONS = {each.partition(":")[0]: "." + re.split("[/:]", each)[-1] for each in KINDS.split()}
FIELDS = dict.fromkeys(("name", "stem", "ext", "host", "path"), re.compile(r"(\.[0-9]{1,3})?s?"))
FIELDS["index"] = re.compile("0?[0-9]{0,2}d?")


def safe(name: str) -> str:
    """Return what a file may be called anywhere, as near to `name` as that can be.

    Example:
        >>> safe("../con:.jpg")
        '_con_.jpg'
    """
    if len(name) > READ_CHARACTERS:
        name = name[: READ_CHARACTERS // 2] + name[-READ_CHARACTERS // 2 :]
    name = _fit(UNFIT.sub("_", normalize("NFC", UNSEEN.sub("", name))).strip(EDGES))
    return _fit("_" + name) if DEVICE.match(name) else name


def numbered(name: str, number: int) -> str:
    """Return a safe name with a number before its extension.

    Example:
        >>> numbered("a.tar.gz", 2)
        'a (2).tar.gz'
    """
    return _fit(name, f" ({number})")


def wanted(name: str) -> tuple[str, ...]:
    """Return the components of a name that the user gave, folders first.

    Raises:
        ValueError: It leads out of the folder, names no file, or is too long.
    """
    parts = tuple(map(safe, _parts(name, "name")))
    if sum(len(part.encode()) + 1 for part in parts) > MOST_PATH_BYTES:
        raise ValueError(
            f"name {name!r:.200}: it has {len(parts)} parts and more than {MOST_PATH_BYTES} bytes, "
            "which file systems refuse: use fewer folders"
        )
    return parts


def name_of(url: str, *, disposition: str | None = None, content_type: str | None = None) -> str:
    """Return a safe name for what came from an address.

    Args:
        url: The address that answered.
        disposition: The answer's Content-Disposition; its name comes first.
        content_type: The answer's Content-Type, for a name that has no extension.
    """
    if disposition is None and (plain := PLAIN.fullmatch(url)) and not DEVICE.match(plain[1]):
        return plain[1]
    if disposition is not None and (said := _disposed(disposition)):
        return safe(said)
    host, segments = _host_and_segments(url)
    name = safe(segments[-1] if segments else host)
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not segments or not _split(name)[1]:
        name = safe(name + EXTENSIONS.get(kind, ""))
    return name


class Template:
    """A pattern for names of index, name, stem, ext (without a dot), host, and path (joined by -)."""

    def __init__(self, text: str) -> None:
        """Check a pattern.

        Raises:
            ValueError: It has another field, or leads out of the folder.
        """
        try:
            fields = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(
                f"name template {text!r:.200}: {error}; write {{{{ and }}}} for plain braces"
            ) from None
        for _, field, spec, conversion in fields:
            if field is not None:
                _check_field(text, field, spec or "", conversion)
        self._parts = _parts(text, "name template")

    def components(self, *, index: int, name: str, url: str) -> tuple[str, ...]:
        """Return the components of a file's path, folders first.

        Args:
            index: Its place in the list.
            name: Its name so far, one component.
            url: Where it came from.
        """
        host, segments = _host_and_segments(url)
        stem, ext = _split(name)
        values = {"stem": stem, "ext": ext[1:], "host": host, "path": "-".join(segments)}
        return tuple(safe(part.format(index=index, name=name, **values)) for part in self._parts)


def _split(name: str) -> tuple[str, str]:
    found = EXTENSION.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def _fit(name: str, number: str = "") -> str:
    """Cut the stem so that the whole is short enough."""
    stem, ext = _split(name)
    room, raw = MOST_BYTES - len((number + ext).encode()), stem.encode()
    if len(raw) > room:
        stem = raw[:room].decode(errors="ignore").rstrip(EDGES)
    return stem + number + ext or "file"


def _parts(path: str, what: str) -> list[str]:
    parts = SEPARATORS.split(path)
    if path[1:2] == ":" or (len(parts) > 1 and not parts[0]):
        why = "begins at a root or drive, and files go only below the folder: leave that out"
    elif ".." in map(str.strip, parts):
        why = "leads out of the folder with ..: write the path from there down"
    elif not parts[-1].strip(EDGES):
        why = "names no file: write one at its end"
    else:
        return [part for part in parts if part.strip(EDGES)]
    raise ValueError(f"{what} {path!r:.200}: it {why}")


def _check_field(text: str, field: str, spec: str, conversion: str | None) -> None:
    if field not in FIELDS:
        why = f"has no field {field!r:.200} but {', '.join(FIELDS)}, without . or [ ] behind them"
    elif conversion or not FIELDS[field].fullmatch(spec):
        why = (
            f"cannot show {field} so: there is {{index:06}} for six digits, {{name:.20}} for a cut"
        )
    else:
        return
    raise ValueError(f"name template {text!r:.200}: it {why}")


def _host_and_segments(url: str) -> tuple[str, list[str]]:
    """Return host and non-empty parts of the path, decoded."""
    try:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    except ValueError:
        return "", []
    segments = (unquote(part, errors="replace") for part in path.split("/"))
    return host, [part for part in segments if part.strip(EDGES)]


def _disposed(header: str) -> str | None:
    """Return the name in a Content-Disposition (RFC 6266), without folders."""
    found: dict[str, str] = {}
    for name, value in PARAMETER.findall(";" + header[:READ_CHARACTERS]):
        text = value.strip()
        if text.startswith('"'):
            text = ESCAPED.sub(r"\1", text[1:].removesuffix('"'))
        found.setdefault(name.lower(), text)
    extended = found.get("filename*", "")
    said = _decoded(extended) or _mended(found.get("filename") or extended)
    return next((part for part in SEPARATORS.split(said)[::-1] if part.strip(EDGES)), None)


def _decoded(value: str) -> str:
    """Undo RFC 8187: charset'language'percents."""
    charset, _, rest = value.partition("'")
    raw = unquote_to_bytes(rest.partition("'")[2])
    for each in (charset.strip().lower(), "utf-8"):
        if each in CHARSETS:
            try:
                return _mended(raw.decode(each))
            except UnicodeDecodeError:
                continue
    return raw.decode("latin-1")


def _mended(text: str) -> str:
    """Read as UTF-8 what was UTF-8 and was read as Latin-1."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
