"""Lines of a list: what can be fetched of them, and what may be shown."""

from __future__ import annotations

import string
from itertools import count, islice
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gearshift.jobs.download.entries import Entry, entries, entry_of, redacted

HOST = "https://example.com"
URLISH = st.text() | st.text(alphabet=":/?#[]@!$&.%\\ a1é\u202e\x00").map("http://".__add__)


@pytest.mark.parametrize(
    ("given_url", "requested"),
    [
        ("http://example.com", "http://example.com/"),
        ("  https://example.com/a.jpg\r\n", "https://example.com/a.jpg"),
        ("\ufeffhttps://example.com/a", "https://example.com/a"),
        ("HTTPS://Example.COM/A?b#c", "https://example.com/A?b"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com:0080/a", "http://example.com:80/a"),
        (
            "http://bücher.example/ä b".replace(" ", "%20"),
            "http://xn--bcher-kva.example/%C3%A4%20b",
        ),
        ("http://faß.example/", "http://xn--fa-hia.example/"),
        ("http://例。example/", "http://xn--fsq.example/"),
        ("http://[::0001]:8080/", "http://[::1]:8080/"),
        ("http://h/a%2Fb%zz%", "http://h/a%2Fb%25zz%25"),
        ("http://h/é?q=é&r=%C3%A9", "http://h/%C3%A9?q=%C3%A9&r=%C3%A9"),
        ('http://h/"<>\\^`{|}', "http://h/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("http://me:p%40ss@h/a", "http://me:p%40ss@h/a"),
        ("http://a_b.example./", "http://a_b.example./"),
        ("http://h//a/../b;c=d,e/@f:g", "http://h//a/../b;c=d,e/@f:g"),
    ],
)
def test_requested_is(given_url: str, requested: str) -> None:
    entry = entry_of(given_url)
    assert entry.fault is None
    assert entry.request_url == requested
    assert entry_of(requested).request_url == requested


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("file:///etc/passwd", "is of file://"),
        ("ftp://example.com/a", "is of ftp://"),
        ("javascript:alert(1)", "has no http:// or https://"),
        ("example.com/a.jpg", "write 'https://example.com/a.jpg'"),
        ("example.com:80/a.jpg", "has no http:// or https://"),
        ("//example.com/a.jpg", "has no http:// or https://"),
        ("http://", "has no host"),
        ("http:///a", "has no host"),
        ("http:example.com", "has no host"),
        ("http://:80/", "has no host"),
        ("http://u:p@/", "has no host"),
        ("http://h:0/", "a port from 1 to 65535"),
        ("http://h:65536/", "a port from 1 to 65535"),
        ("http://h:" + "9" * 5000, "a port from 1 to 65535"),
        ("http://h:8o/", "a port from 1 to 65535"),
        ("http://h:\u0661/", "a port from 1 to 65535"),
        ("http://h:-1/", "a port from 1 to 65535"),
        ("http://[::1/", "has no host"),
        ("http://[::g]/", "has no host"),
        ("http://[fe80::1%25eth0]/", "has no host"),
        ("http://[v1.a]/", "has no host"),
        ("http://a..b/", "has no host"),
        ("http://./", "has no host"),
        (f"http://{'a' * 64}.example/", "has no host"),
        (f"http://{'a.' * 200}/", "has no host"),
        (f"http://{'ü.' * 200}/", "has no host"),
        ("http://a%2fb/", "has no host"),
        ("http://a*b/", "has no host"),
        ("http://good.example\\@evil.example:x/", "has no host"),
        ("http://\u2100.example/", "has no host"),
        ("http://h/a b", "U+0020 at character 11"),
        ("http://h/a\u3000b", "U+3000"),
        ("http://h/a\nhttp://h/b", "U+000A"),
        ("http://h/\x1b[2J", "U+001B"),
        ("http://h/\x00", "U+0000"),
        ("http://h/\ud800", "U+D800"),
        ("http://h/" + "a" * 70_000, "is a line break missing"),
        (None, "got NoneType"),
        (7, "got int"),
        (b"http://h/", "got bytes"),
        ({}, "got no url"),
        ({"url": None}, "got no url"),
        ({"url": 7}, "got a url of type int"),
    ],
)
def test_line_is_a_failed_item_that_says_why(line: object, why: str) -> None:
    entry = entry_of(line)
    assert entry.fault is not None
    assert why in entry.fault
    assert len(entry.fault) < 500
    assert entry.fault.isprintable()
    with pytest.raises(ValueError, match="cannot be requested"):
        entry.request_url  # noqa: B018 -- what is tested is that it raises
    assert entry_of(entry) is entry


AB = "ab" * 32


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"checksum": f"sha256:{AB}"}, f"sha256:{AB}"),
        ({"checksum": f" SHA-256:{AB.upper()} "}, f"sha256:{AB}"),
        ({"checksum": AB}, f"sha256:{AB}"),
        ({"checksum": "a" * 40}, "sha1:" + "a" * 40),
        ({"checksum": "a" * 32}, "md5:" + "a" * 32),
        ({"checksum": "a" * 128}, "sha512:" + "a" * 128),
        ({"sha256": AB}, f"sha256:{AB}"),
        ({"sha256": f"sha256:{AB}", "checksum": AB}, f"sha256:{AB}"),
        ({"md5": "a" * 32, "sha1": "b" * 40}, "sha1:" + "b" * 40),
        ({"checksum": "", "sha1": None}, None),
        ({}, None),
    ],
)
def test_checksum_is(fields: dict[str, Any], expected: str | None) -> None:
    entry = entry_of({"url": HOST, **fields})
    assert entry.fault is None
    assert entry.checksum == expected
    assert entry_of(entry) == entry


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"checksum": "abc"}, "checksum is 'abc'"),
        ({"checksum": "z" * 64}, "write sha256:"),
        ({"checksum": f"crc32:{AB}"}, "write sha256:"),
        ({"checksum": "sha256:" + "a" * 40}, "write sha256:"),
        ({"checksum": 5}, "checksum is no text"),
        ({"sha1": AB}, "sha1 is"),
        ({"sha1": "md5:" + "a" * 32}, "sha1 is"),
        ({"checksum": AB, "sha256": "cd" * 32}, "two values of sha256"),
        ({"name": 5}, "name is of type int"),
        ({"name": "../a"}, "leads out of the folder"),
        ({"name": "/etc/passwd"}, "begins at a root"),
        ({"name": "a/"}, "names no file"),
        ({"headers": "Accept: x"}, "headers are of type str"),
        ({"headers": [("a",)]}, "no pair"),
        ({"headers": {"a": 5}}, "no pair"),
        ({"headers": {"a b": "c"}}, "cannot name a header"),
        ({"headers": {"": "c"}}, "cannot name a header"),
        ({"headers": {"a": "b\r\nc: hush"}}, "header a has a line break"),
        ({"headers": {"a": "\x00"}}, "header a has a line break"),
        ({"headers": {"Range": "bytes=0-1"}}, "the download's own"),
    ],
)
def test_unusable_field_is_a_fault(fields: dict[str, Any], why: str) -> None:
    entry = entry_of({"url": HOST, **fields})
    assert entry.fault is not None
    assert why in entry.fault
    assert "hush" not in entry.fault
    assert entry.url == HOST


def test_mapping_gives_all_its_fields() -> None:
    entry = entry_of(
        {
            "url": f" {HOST}/a ",
            "name": " b/c:.jpg ",
            "headers": {"Authorization": " Bearer x "},
            "license": "CC0",
        }
    )
    assert entry == Entry(f"{HOST}/a", "b/c_.jpg", None, (("Authorization", "Bearer x"),))
    listed = entry_of({"url": HOST, "headers": [["A", "1"], ("A", "2")], "name": " "})
    assert listed.headers == (("A", "1"), ("A", "2"))
    assert listed.name is None
    assert entry_of({"url": HOST, "headers": ""}).headers == ()


def test_entry_of_the_users_own_making_is_judged_too() -> None:
    assert entry_of(Entry("file:///etc/passwd")).fault is not None
    assert entry_of(Entry(HOST, name="../a")).fault is not None
    with pytest.raises(ValueError, match="is of file://"):
        Entry("file:///etc/passwd").request_url  # noqa: B018 -- what is tested is that it raises


def test_endless_list_is_read_lazily() -> None:
    lines = entries(f"{HOST}/{number}" for number in count())
    assert [entry.url[-1] for entry in islice(lines, 3)] == ["0", "1", "2"]


@pytest.mark.parametrize("line", [HOST, b"x", {"url": HOST}, Entry(HOST)])
def test_single_line_is_no_list(line: Any) -> None:
    with pytest.raises(TypeError, match=r"put it in \[ \]"):
        entries(line)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a?b=c#d", "https://h/a?b=c#d"),
        ("https://h/@user/a:b@c", "https://h/@user/a:b@c"),
        ("https://h:8080/@user", "https://h:8080/@user"),
        ("https://[::1]:80/@user", "https://[::1]:80/@user"),
        ("https://hush@h/a", "https://***@h/a"),
        ("https://me:hush@h:80/a@b", "https://***@h:80/a@b"),
        ("https://me:hu@sh@[::1]/a", "https://***@[::1]/a"),
        ("https://me:hu/sh@h/a", "https://***@h/a"),
        ("https://me@example.com:hu/sh@h/a", "https://***@h/a"),
        ("https://me:hu?sh#hush@h/a", "https://***@h/a"),
        ("me:hush@h/a", "***@h/a"),
        ("//me:hush@h/a", "//***@h/a"),
        ("https:///me:hush@h/a", "https:///***@h/a"),
        ("https://h/?token=hush&a=b", "https://h/?token=***&a=b"),
        ("https://h/?a=b&X-Amz-Signature=hush", "https://h/?a=b&X-Amz-Signature=***"),
        ("https://h/?X-Amz-Credential=hush/2026", "https://h/?X-Amz-Credential=***"),
        ("https://h/?sig=hush;hush", "https://h/?sig=***"),
        ("https://h/?KEY=hush&my_api-key=hush", "https://h/?KEY=***&my_api-key=***"),
        (
            "https://h/?monkey=see&keys=do&token_type=b",
            "https://h/?monkey=see&keys=do&token_type=b",
        ),
        ("https://h/#access_token=hush", "https://h/#access_token=***"),
        ("https://h/?password=hu sh", "https://h/?password=***"),
        ("https://h/\x1b[2J\u202e", "https://h/\\x1b[2J\\u202e"),
        ("https://h/\ud800\n", "https://h/\\ud800\\n"),
    ],
)
def test_shown_is(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("name", ["token", "key", "apikey", "api_key", "signature", "sig"])
@pytest.mark.parametrize(
    "url", ["https://h/a?x=1&{}=hush", "h?{}=hush", "ftp://h/?{}=hush", "http://h:x/?{}=hush"]
)
def test_secret_is_shown_nowhere(name: str, url: str) -> None:
    entry = entry_of({"url": url.format(name), "headers": {"Cookie": "hush"}})
    assert "hush" not in repr(entry)
    assert "hush" not in (entry.fault or "")


@given(URLISH)
def test_any_text_becomes_an_entry(text: str) -> None:
    entry = entry_of(text)
    if entry.fault is None:
        assert entry.request_url.isascii()
        assert urlsplit(entry.request_url).hostname
        assert entry_of(entry.request_url).request_url == entry.request_url
    assert entry_of(entry) == entry
    assert repr(entry).isprintable()


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["url", "name", "sha1", "headers"]),
        st.none() | st.text() | st.lists(st.text(), max_size=2),
    )
)
def test_any_mapping_becomes_an_entry(fields: dict[str, Any]) -> None:
    assert entry_of(fields).fault is not None or entry_of(fields).request_url


@given(
    st.text(string.ascii_letters, min_size=1),
    (st.text(string.ascii_letters + ":/?#") | st.text(string.ascii_letters + ":@")).map(
        lambda text: f"S3{text}S3"
    ),
    st.sampled_from(["http://", "ftp://", "", "//"]),
)
def test_password_is_never_shown(user: str, password: str, scheme: str) -> None:
    assert "S3" not in redacted(f"{scheme}{user}:{password}@example.com/a")


@pytest.mark.parametrize(
    "text", ["//a:b" * 20_000, "?a=" * 30_000, "a" * 99_999, "?" + "k_" * 40_000, ":" * 99_999]
)
def test_long_rubbish_is_shown_soon(text: str) -> None:
    assert redacted(text)
