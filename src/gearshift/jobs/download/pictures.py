"""Pillow: whether a file is one whole picture, and what is made of it.

Apart from the rest since it alone imports Pillow, which is optional. It knows neither folder nor record:
an open file goes in, bytes come out.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from gearshift.errors import GearshiftError, UnsupportedError

try:
    from PIL import Image, ImageOps, UnidentifiedImageError
except ImportError as _error:
    raise UnsupportedError(
        f"images= needs Pillow ({_error}): pip install 'gearshift[images]'"
    ) from _error

if TYPE_CHECKING:
    from gearshift.jobs.download.images import Images

__all__ = ["CannotMakeError", "NoPictureError", "Picture", "named", "read_picture"]

# What Pillow reads by itself: for EPS it would start Ghostscript, with a stranger's program.
READ = (
    *("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TIFF", "WEBP"),
)
OPTIONS: dict[str, dict[str, int]] = {"JPEG": {"quality": 90}, "WEBP": {"quality": 90}}
EXTENSIONS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
}
MODES: dict[str, tuple[str, ...]] = {  # that a format takes as they are
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
}
SHARP = ("PNG", "GIF", "ICO")  # drawings more often than photographs
ORIENTATION = 0x0112  # of EXIF
TURNED = range(5, 9)  # orientations that swap width and height
MOST_EXTENSION = 6  # characters of what is taken for one


class NoPictureError(GearshiftError):
    """It is none, or not a whole one."""


class CannotMakeError(GearshiftError):
    """It is a picture, but what was asked for cannot be made of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a file is, and what was made of it.

    Attributes:
        width: As it is shown, of `changed` where there is one.
        height: The same.
        format: Pillow's name.
        changed: The picture that is to take its place, or None.
        thumbnail: The small one, or None.
        thumbnail_format: Pillow's name.
    """

    width: int
    height: int
    format: str
    changed: bytes | None = None
    thumbnail: bytes | None = None
    thumbnail_format: str = ""


def read_picture(file: BinaryIO, images: Images) -> Picture:
    """Decode all of a picture, and make of it what was asked for.

    Raises:
        CannotMakeError: That cannot be made of it.
        NoPictureError: It is no whole picture.
        OSError: The file cannot be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd EXIF, and of sizes below the limit
        try:
            image, shown, moves = _decoded(file, images)
        except UnidentifiedImageError:
            raise NoPictureError(_unknown(file)) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise NoPictureError(str(error) or type(error).__name__) from None
        try:
            return _made(image, shown, images, moves=moves)
        except Exception as error:  # such as a side of more pixels than the format has numbers for
            raise CannotMakeError(str(error) or type(error).__name__) from None


def named(name: str, kind: str) -> str:
    """Return a file name with the extension of a format, and the same where it has one of those.

    Example:
        >>> named("a.png", "JPEG")
        'a.jpg'
    """
    stem, dot, extension = name.rpartition(".")
    known = EXTENSIONS[kind]
    if f".{extension.lower()}" in known:
        return name
    is_one = dot and stem and len(extension) < MOST_EXTENSION and extension.isalnum()
    return (stem if is_one else name) + known[0]


def _unknown(file: BinaryIO) -> str:
    """Say of what is no picture what it may be."""
    file.seek(0)
    if file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "it begins like a web page or another kind of XML"
    return "its format is none of " + ", ".join(READ).lower()


def _decoded(file: BinaryIO, images: Images) -> tuple[Image.Image, tuple[int, int], bool]:
    """Return a picture whose every frame was decoded, its size as it is shown, and whether it moves."""
    Image.init()  # all formats, once
    formats = [each for each in READ if each in Image.OPEN]
    with Image.open(file, formats=formats) as image:
        image.verify()  # checksums of PNG; nothing can be done with the picture afterwards
    file.seek(0)
    image = Image.open(file, formats=formats)
    width, height = image.size
    least = _least_side(images)
    if least is not None:  # JPEG is read in full, but smaller copies of it take less time
        image.draft(None, (least, least))
    image.load()
    frames = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
    for frame in range(1, frames):
        image.seek(frame)
        image.load()
    if frames > 1:
        image.seek(0)
        image.load()
    is_turned = _orientation(image) in TURNED
    return image, ((height, width) if is_turned else (width, height)), frames > 1


def _least_side(images: Images) -> int | None:
    """Return the side that a decoded picture has to have at least, or None for all of it."""
    if images.max_side is not None:
        return images.max_side
    if images.format is not None:
        return None
    return 2 * images.thumbnails if images.thumbnails is not None else 1


def _orientation(image: Image.Image) -> int:
    orientation = 1
    with suppress(Exception):  # EXIF of a picture that is whole may be anything
        orientation = int(image.getexif().get(ORIENTATION, 1))
    return orientation


def _made(image: Image.Image, shown: tuple[int, int], images: Images, *, moves: bool) -> Picture:
    """Make the changed picture and the thumbnail."""
    own = "JPEG" if image.format == "MPO" else str(image.format)
    kind = own if images.format is None else images.format.upper()
    most = images.max_side
    is_reduced = most is not None and max(shown) > most and not (moves and kind == own)
    if not is_reduced and kind == own and images.thumbnails is None:
        return Picture(width=shown[0], height=shown[1], format=own)
    profile = image.info.get("icc_profile")
    picture = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    changed = None
    if is_reduced or kind != own:
        if is_reduced and most is not None:
            picture = _small(picture, most)
        changed = _encoded(picture, kind, profile)
        shown = picture.size
    thumbnail, thumbnail_kind = None, ""
    if images.thumbnails is not None:
        is_sharp = own in SHARP or picture.has_transparency_data
        thumbnail_kind = "PNG" if is_sharp else "JPEG"
        thumbnail = _encoded(_small(picture, images.thumbnails), thumbnail_kind, profile)
    return Picture(
        width=shown[0],
        height=shown[1],
        format=kind,
        changed=changed,
        thumbnail=thumbnail,
        thumbnail_format=thumbnail_kind,
    )


def _small(image: Image.Image, side: int) -> Image.Image:
    """Return a picture that fits into a square."""
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    else:
        image = image.copy()
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return image


def _encoded(image: Image.Image, kind: str, profile: bytes | None) -> bytes:
    """Return the bytes of a file."""
    fit = _fit(image, kind)
    if fit.mode != image.mode and image.mode == "CMYK":
        profile = None  # it is one of inks
    options = dict(OPTIONS.get(kind, {}))
    out = io.BytesIO()
    if profile:
        fit.save(out, kind, icc_profile=profile, **options)
    else:
        fit.save(out, kind, **options)
    return out.getvalue()


def _fit(image: Image.Image, kind: str) -> Image.Image:
    """Return a picture in a mode that a format takes."""
    modes = MODES.get(kind)
    if modes is None or (image.mode in modes and not (kind == "JPEG" and _is_clear(image))):
        return image
    if image.mode[0] in "IF" and kind != "PNG":  # 16 bits and more
        return _fit(image.convert("I").point(lambda value: value / 256).convert("L"), kind)
    if image.mode in {"1", "L"}:
        return image.convert("L" if "L" in modes else "RGB")
    if not _is_clear(image):
        return image.convert("RGB")
    image = image.convert("RGBA")
    if "RGBA" in modes:
        return image
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def _is_clear(image: Image.Image) -> bool:
    """Whether anything behind the picture could be seen."""
    return bool(image.has_transparency_data)
