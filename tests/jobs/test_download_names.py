"""File names, whatever the list and the server say: one component, in the folder, each given once."""

from __future__ import annotations

import os.path
import string
from unicodedata import is_normalized

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.jobs.download.names import Template, name_of, numbered, safe, wanted

NAMES = (
    st.text()
    | st.text(alphabet="./\\ :a\u202eé\x00\u0301", max_size=300)
    | st.sampled_from(["con", "NUL", "com1", "lpt9", "aux .x", "conin$"])
    | st.builds(
        lambda stem, times, ext: stem * times + ext, st.text(), st.integers(0, 300), st.text()
    )
)
NO_FILE = frozenset[str]().__contains__


def assert_safe(name: str) -> None:
    assert os.path.normpath(os.path.join("/into", name)) == f"/into/{name}"  # noqa: PTH118 -- as text
    assert not set(name) & set('/\\<>:"|?*')
    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in name)
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert name.partition(".")[0].rstrip().lower() not in {
        "con",
        "prn",
        "aux",
        "nul",
        "com1",
        "lpt9",
    }
    assert 1 <= len(name.encode()) <= 200
    assert is_normalized("NFC", name)
    assert safe(name) == name


@given(NAMES)
def test_any_text_becomes_one_component_in_the_folder(text: str) -> None:
    assert_safe(safe(text))


@given(NAMES, st.integers(2, 10**9))
def test_numbered_name_is_as_safe_as_before(text: str, number: int) -> None:
    name = numbered(safe(text), number)
    assert_safe(name)
    assert f" ({number})" in name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        (". . .", "file"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("/etc/passwd", "_etc_passwd"),
        (".bashrc", "bashrc"),
        ("a. . ", "a"),
        ("\u3000a\u3000", "a"),
        ("a\nb\x1b[2J\x00", "a_b_[2J_"),
        ("a\u2028b", "a_b"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\ufeffa.jpg", "a.jpg"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1 .txt", "_com1 .txt"),
        ("COM\u00b9", "_COM\u00b9"),
        ("com10", "com10"),
        ("console.txt", "console.txt"),
        ("C:evil", "C_evil"),
        ("a.jpg:stream", "a.jpg_stream"),
        ('<>:"|?*', "_______"),
        ("e\u0301.jpg", "\u00e9.jpg"),
        ("e\u202e\u0301.jpg", "\u00e9.jpg"),
        ("\ud800a", "_a"),
        ("\U0001f600.png", "\U0001f600.png"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
        ("x" * 300 + ".tar.gz", "x" * 193 + ".tar.gz"),
        ("x." + "y" * 300, "x." + "y" * 198),
        ("\u20ac" * 100 + ".jpg", "\u20ac" * 65 + ".jpg"),
        ("\U0001f600" * 100, "\U0001f600" * 50),
        ("con" + " " * 300 + "x", "_con"),
        ("con." + "x" * 300, "_con." + "x" * 195),
        ("x" * 10**6 + ".jpg", "x" * 196 + ".jpg"),
        ("e" + "\u0301\u0323" * 10**5 + ".jpg", None),
    ],
)
def test_safe_name_of(text: str, name: str | None) -> None:
    assert_safe(safe(text))
    assert name is None or safe(text) == name


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("a.jpg", 2, "a (2).jpg"),
        ("a", 10, "a (10)"),
        ("a.tar.gz", 3, "a (3).tar.gz"),
        ("a.TAR.bz2", 3, "a (3).TAR.bz2"),
        ("tar.gz", 3, "tar (3).gz"),
        ("v1.5 final", 2, "v1.5 final (2)"),
        ("x" * 196 + ".jpg", 2, "x" * 192 + " (2).jpg"),
        ("x" * 200, 10_000, "x" * 192 + " (10000)"),
    ],
)
def test_numbered(name: str, number: int, expected: str) -> None:
    assert numbered(name, number) == expected


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.jpg", ("a.jpg",)),
        ("a/b.jpg", ("a", "b.jpg")),
        ("a\\b.jpg", ("a", "b.jpg")),
        ("./a//./b.jpg", ("a", "b.jpg")),
        ("nul/.hidden/a:b", ("_nul", "hidden", "a_b")),
        ("a/.../b", ("a", "b")),
        ("~/a", ("~", "a")),
    ],
)
def test_wanted_name_keeps_its_folders(name: str, parts: tuple[str, ...]) -> None:
    assert wanted(name) == parts
    assert wanted("/".join(parts)) == parts


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "begins at a root or drive"),
        ("\\\\server\\share", "begins at a root or drive"),
        ("C:\\a", "begins at a root or drive"),
        ("c:a", "begins at a root or drive"),
        ("../a", r"with \.\."),
        ("a/../../b", r"with \.\."),
        ("a\\..\\b", r"with \.\."),
        ("a/..", r"with \.\."),
        ("a/.. /b", r"with \.\."),
        ("", "names no file"),
        (".", "names no file"),
        ("a/", "names no file"),
        ("a/ . ", "names no file"),
        ("a/" * 2000 + "b", "use fewer folders"),
    ],
)
def test_wanted_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        wanted(name)
    assert len(str(refused.value)) < 500


@given(NAMES)
def test_wanted_name_is_safe_or_refused(text: str) -> None:
    try:
        parts = wanted(text)
    except ValueError:
        return
    assert parts
    for part in parts:
        assert_safe(part)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b.jpg", "b.jpg"),
        ("https://h/a/b.jpg?c=d/e.png#f", "b.jpg"),
        ("https://h/a/b/", "b"),
        ("https://h/a/%2E%2E/", "a"),
        ("https://h/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("https://h/b%C3%BCcher.pdf", "b\u00fccher.pdf"),
        ("https://h/%E9.pdf", "\ufffd.pdf"),
        ("https://h/%00%0A.pdf", "__.pdf"),
        ("https://h/", "h"),
        ("https://Me:hush@H.example:80", "h.example"),
        ("https://[::1]/", "__1"),
        ("https://[", "file"),
        ("", "file"),
        ("https://h/" + "a" * 300 + ".jpg", "a" * 196 + ".jpg"),
    ],
)
def test_name_from_address(url: str, name: str) -> None:
    assert name_of(url) == name


@pytest.mark.parametrize(
    ("url", "content_type", "name"),
    [
        ("https://h/a", "image/jpeg", "a.jpg"),
        ("https://h/a", " IMAGE/PNG ; x=y", "a.png"),
        ("https://h/a", "text/html; charset=utf-8", "a.html"),
        ("https://h/a", "application/pdf", "a.pdf"),
        ("https://h/a", "image/svg+xml", "a.svg"),
        ("https://h/a", "application/octet-stream", "a"),
        ("https://h/a", "", "a"),
        ("https://h/a.php", "image/jpeg", "a.php"),
        ("https://h.example/", "text/html", "h.example.html"),
        ("https://h/" + "a" * 300, "image/jpeg", "a" * 196 + ".jpg"),
    ],
)
def test_extension_from_content_type(url: str, content_type: str, name: str) -> None:
    assert name_of(url, content_type=content_type) == name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename=a.jpg", "a.jpg"),
        ('attachment; filename="a b;c.jpg"', "a b;c.jpg"),
        ('ATTACHMENT;FileName = "a.jpg" ; size=5', "a.jpg"),
        ("filename=a.jpg", "a.jpg"),
        ("attachment; filename=my file.jpg", "my file.jpg"),
        ('attachment; filename="a.jpg', "a.jpg"),
        ('attachment; filename="a\\"b.jpg"', "a_b.jpg"),
        ('attachment; filename="C:\\Users\\me\\a.jpg"', "a.jpg"),
        ('attachment; filename="C:\\\\Users\\\\a.jpg"', "a.jpg"),
        ('attachment; filename="../../a.jpg"', "a.jpg"),
        ('attachment; filename="/etc/cron.d/"', "cron.d"),
        ('attachment; filename=".htaccess"', "htaccess"),
        ('attachment; filename="nul"', "_nul"),
        ("attachment; filename=x; filename*=UTF-8''%e2%82%ac%20a.jpg", "\u20ac a.jpg"),
        ("attachment; filename*=UTF-8'en'..%2F..%2Fa.jpg; filename=x", "a.jpg"),
        ("attachment; filename*=iso-8859-1''%A3.txt", "\u00a3.txt"),
        ("attachment; filename*=\"UTF-8''a%20b.txt\"", "a b.txt"),
        ("attachment; filename*=UTF-8''%A3.txt", "\u00a3.txt"),
        ("attachment; filename*=iso-8859-1''%C3%A9.txt", "\u00e9.txt"),
        ("attachment; filename*=zip''a.txt", "a.txt"),
        ("attachment; filename*=nonsense''%C3%A9.txt", "\u00e9.txt"),
        ("attachment; filename*=a.txt", "a.txt"),
        ("attachment; filename*=a.txt; filename=b.txt", "b.txt"),
        ("attachment; filename=\u00c3\u00a9.txt", "\u00e9.txt"),
        ("attachment; filename=\u00e9.txt", "\u00e9.txt"),
        ("attachment; filename=\u20ac.txt", "\u20ac.txt"),
        ("attachment; filename=a; filename=b", "a"),
        ("attachment; filename=a%20b", "a%20b"),
        ("attachment; filename=", "url.jpg"),
        ('attachment; filename=".."', "url.jpg"),
        ("attachment", "url.jpg"),
        ("", "url.jpg"),
        (';x="' * 50_000, "url.jpg"),
    ],
)
def test_name_from_content_disposition(disposition: str, name: str) -> None:
    assert name_of("https://h/url.jpg", disposition=disposition, content_type="text/html") == name


@given(NAMES, st.none() | NAMES.map("attachment; filename".__add__), st.none() | st.text())
def test_any_answer_gives_a_safe_name(path: str, disposition: str | None, kind: str | None) -> None:
    assert_safe(name_of(f"http://h/{path}", disposition=disposition, content_type=kind))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{index:06}-{name}", "000007-c.tar.gz"),
        ("{host}/{name}", "h.example/c.tar.gz"),
        ("{stem}.{ext}", "c.tar.gz"),
        ("{path}", "a-b c-c.tar.gz"),
        ("{{{index}}}", "{7}"),
        ("{name:.1}{index:3d}", "c  7"),
        (".{name}\\{index}.", "c.tar.gz/7"),
        ("con", "_con"),
    ],
)
def test_template_gives(text: str, path: str) -> None:
    made = Template(text).components(
        index=7, name="c.tar.gz", url="https://me@H.example/a/b%20c/c.tar.gz"
    )
    assert "/".join(made) == path


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{nam}", "no field 'nam'"),
        ("{}", "no field ''"),
        ("{0}", "no field '0'"),
        ("{name.__class__}", "no field 'name.__class__'"),
        ("{name[0]}", r"no field 'name\[0\]'"),
        ("{name!r}", "cannot show name so"),
        ("{name:>99999999}", "cannot show name so"),
        ("{index:{name}}", "cannot show index so"),
        ("{index:0999999999}", "cannot show index so"),
        ("{index:x}", "cannot show index so"),
        ("{name", "plain braces"),
        ("name}", "plain braces"),
        ("/{name}", "begins at a root"),
        ("C:/{name}", "begins at a root"),
        ("../{name}", "leads out of the folder"),
        ("{name}/", "names no file"),
        ("", "names no file"),
    ],
)
def test_template_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Template(text)


@given(NAMES, NAMES, st.integers(0, 10**12))
def test_no_value_leads_a_template_out_of_its_folder(name: str, path: str, index: int) -> None:
    template = Template("{host}/{path}-{index:04}/{stem}.{ext}")
    made = template.components(index=index, name=name, url=f"http://h/{path}")
    assert len(made) == 3
    for part in made:
        assert_safe(part)


@given(st.text(string.printable))
def test_template_text_is_refused_or_safe(text: str) -> None:
    try:
        template = Template(text)
    except ValueError:
        return
    for part in template.components(index=1, name="a.jpg", url="http://h/a.jpg"):
        assert_safe(part)
