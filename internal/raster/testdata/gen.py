"""Writes the pictures of this folder and what Pillow makes of them.

    python -m venv env && env/bin/pip install pillow==13.0.0 numpy scipy torchvision
    env/bin/python gen.py

decode/NAME.EXT is a file to decode, decode/NAME.EXT.want.png its pixels by
Pillow: exif_transpose, then convert("RGB"); 16-bit grey is scaled by hand, since
Pillow clips it. map/ is the same for saliency maps, want is 16-bit grey.
resize/ holds one picture and Pillow's antialiased bilinear resizes of it. view/ holds
a square picture and what torchvision's usual preparation for a network makes of it:
resized, the centre cropped, normalised; float32, planar. blur/SIGMA.f32 is a corner of
that picture, mixed by a mask with what scipy.ndimage.gaussian_filter makes of it.
"""

import io
import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage
from torchvision import transforms

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)


def path(*parts):
    p = os.path.join(here, *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def scene(w, h):
    """A smooth ramp, a saturated disc and box with hard edges, a little noise."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([255 * x / w, 255 * y / h, 255 - 255 * (x + y) / (w + h)], -1)
    a[(x - 0.35 * w) ** 2 + (y - 0.4 * h) ** 2 < (0.2 * min(w, h)) ** 2] = (230, 20, 30)
    a[int(0.6 * h):int(0.85 * h), int(0.55 * w):int(0.9 * w)] = (10, 60, 240)
    a += rng.normal(0, 4, a.shape)
    return Image.fromarray(a.clip(0, 255).astype(np.uint8), "RGB")


def ramp16(w, h):
    """16-bit levels that use both bytes, brightest off centre."""
    y, x = np.mgrid[0:h, 0:w]
    return (65535 * np.exp(-((x / w - 0.7) ** 2 + (y / h - 0.3) ** 2) * 6)).astype(np.uint16)


def rgb(data):
    im = Image.open(io.BytesIO(data))
    im.load()
    im = ImageOps.exif_transpose(im)
    if im.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(im) >> 8).astype(np.uint8), "L").convert("RGB")
    return Image.fromarray(np.asarray(im.convert("RGB")))  # without its transparency


def case(name, data, want=None):
    open(path("decode", name), "wb").write(data)
    (want or rgb(data)).save(path("decode", name + ".want.png"), optimize=True)


def saved(im, **how):
    b = io.BytesIO()
    im.save(b, **how)
    return b.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png16rgb(w, h):
    """16-bit RGB, which Pillow reads but does not write."""
    a = np.stack([ramp16(w, h), 65535 - ramp16(w, h), ramp16(w, h)[::-1]], -1).astype(">u2")
    rows = b"".join(b"\0" + r.tobytes() for r in a)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def png16rgba(w, h):
    """16-bit RGB with alpha."""
    a = np.stack([ramp16(w, h), 65535 - ramp16(w, h), ramp16(w, h)[::-1], ramp16(w, h)[:, ::-1]], -1).astype(">u2")
    rows = b"".join(b"\0" + r.tobytes() for r in a)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 6, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def png16la(w, h):
    """16-bit grey with alpha."""
    a = np.stack([ramp16(w, h), ramp16(w, h)[::-1]], -1).astype(">u2")
    rows = b"".join(b"\0" + r.tobytes() for r in a)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 4, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def interlaced(im):
    """Adam7, which Pillow reads but does not write."""
    a = np.asarray(im)
    h, w = a.shape[:2]
    raw = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        part = a[y0::dy, x0::dx]
        if part.shape[0] and part.shape[1]:
            raw += b"".join(b"\0" + r.tobytes() for r in part)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 1))
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def exif(o, order="<"):
    e = Image.Exif()
    e.endian = order
    e[0x0112] = o
    return e


def jpeg_segments(data):
    """(marker, start, end) up to the first scan."""
    at = 2
    while data[at + 1] != 0xDA:
        size = struct.unpack(">H", data[at + 2:at + 4])[0]
        yield data[at + 1], at, at + 2 + size
        at += 2 + size


def without(data, marker):
    for m, start, end in jpeg_segments(data):
        if m == marker:
            return data[:start] + data[end:]
    raise ValueError("no such marker")


def resampled(data, luma):
    """The file with other sampling factors of its first component."""
    start = next(start for m, start, _ in jpeg_segments(data) if m == 0xC0)
    return data[:start + 11] + bytes([luma]) + data[start + 12:]


def ycck(data):
    """The same components, called YCCK: libjpeg then converts the first three."""
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\x02" + data[at + 1:]


def texture(w, h):
    """Four mild channels around the middle level."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([128 + 9 * np.sin(x * f / 9 + f) + 9 * np.cos(y / f / 2) for f in (1, 2, 3, 4)], -1)
    return Image.fromarray(a.astype(np.uint8), "CMYK")


def quartered(data):
    """A 40 x 32 CMYK file read as 64 x 32 whose second and third component have
    half the resolution, which Pillow does not write: 80 blocks either way. The
    blocks change places, so the picture is shuffled but valid."""
    start = next(start for m, start, _ in jpeg_segments(data) if m == 0xC0)
    frame = bytearray(data[start:start + 22])
    frame[5:9] = struct.pack(">HH", 32, 64)
    frame[11::3] = b"\x22\x11\x11\x22"
    return data[:start] + bytes(frame) + data[start + 22:]


def decode():
    im = scene(37, 29)
    for name, sampling in [("444", 0), ("422", 1), ("420", 2)]:
        case(f"jpeg-{name}.jpg", saved(im, format="JPEG", quality=88, subsampling=sampling))
    # Samplings that Pillow does not write: the same number of luma blocks in
    # another arrangement, so the picture is shuffled but valid.
    case("jpeg-440.jpg", resampled(saved(scene(32, 32), format="JPEG", quality=88, subsampling=1), 0x12))
    case("jpeg-411.jpg", resampled(saved(scene(32, 32), format="JPEG", quality=88, subsampling=2), 0x41))
    case("jpeg-420-even.jpg", saved(scene(48, 32), format="JPEG", quality=75, subsampling=2))
    case("jpeg-420-large.jpg", saved(scene(150, 110), format="JPEG", quality=80, subsampling=2))
    case("jpeg-420-narrow.jpg", saved(scene(4, 19), format="JPEG", quality=90, subsampling=2))
    case("jpeg-422-narrow.jpg", saved(scene(3, 19), format="JPEG", quality=90, subsampling=1))
    case("jpeg-420-flat.jpg", saved(scene(23, 1), format="JPEG", quality=90, subsampling=2))
    case("jpeg-one.jpg", saved(scene(1, 1), format="JPEG", quality=90, subsampling=2))
    case("jpeg-progressive.jpg", saved(im, format="JPEG", quality=85, subsampling=2, progressive=True))
    case("jpeg-restart.jpg", saved(im, format="JPEG", quality=85, subsampling=2, restart_marker_blocks=2))
    case("jpeg-grey.jpg", saved(im.convert("L"), format="JPEG", quality=88))
    case("jpeg-rgb.jpg", saved(im, format="JPEG", quality=90, keep_rgb=True))
    ink = Image.merge("CMYK", [*im.convert("CMYK").split()[:3], Image.linear_gradient("L").resize(im.size)])
    cmyk = saved(ink, format="JPEG", quality=92, subsampling=0)
    case("jpeg-cmyk.jpg", cmyk)
    case("jpeg-cmyk-no-adobe.jpg", without(cmyk, 0xEE))
    case("jpeg-ycck-444.jpg", ycck(cmyk))
    quarter = quartered(saved(texture(40, 32), format="JPEG", quality=92, subsampling=0))
    case("jpeg-cmyk-420.jpg", quarter)
    case("jpeg-ycck-420.jpg", ycck(quarter))

    small = scene(19, 13)
    for o in range(1, 9):
        case(f"exif-{o}.jpg", saved(small, format="JPEG", quality=90, subsampling=0, exif=exif(o, "<>"[o % 2])))
        case(f"exif-{o}.png", saved(small, format="PNG", exif=exif(o)))
    case("exif-6.webp", saved(small, format="WEBP", lossless=True, exif=exif(6)))
    case("exif-5.tif", saved(small, format="TIFF", tiffinfo={274: 5}))
    case("exif-8.tif", saved(small, format="TIFF", tiffinfo={274: 8}, compression="tiff_lzw"))
    case("exif-invalid.jpg", saved(small, format="JPEG", quality=90, subsampling=0, exif=exif(9)))

    case("grey.png", saved(im.convert("L"), format="PNG"))
    case("grey-alpha.png", saved(im.convert("LA"), format="PNG"))
    case("bits-1.png", saved(im.convert("1"), format="PNG"))
    case("bits-1.tif", saved(im.convert("1"), format="TIFF", compression="group4"))
    case("palette.png", saved(im.quantize(200), format="PNG"))
    case("palette-2bit.png", saved(im.quantize(4), format="PNG", bits=2))
    case("palette-transparent.png", saved(im.quantize(16), format="PNG", transparency=3))
    clear = im.copy()
    clear.putalpha(Image.linear_gradient("L").resize(im.size))
    case("rgba.png", saved(clear, format="PNG"))
    case("rgb-key.png", saved(im, format="PNG", transparency=im.getpixel((5, 5))))
    case("interlaced.png", interlaced(im))
    case("grey-16.png", saved(Image.fromarray(ramp16(31, 23)), format="PNG"))
    case("rgb-16.png", png16rgb(31, 23))
    case("grey-alpha-16.png", png16la(31, 23))
    case("grey-16.tif", saved(Image.fromarray(ramp16(31, 23)), format="TIFF"))
    case("rgb.tif", saved(im, format="TIFF", compression="tiff_adobe_deflate"))
    case("palette.tif", saved(im.quantize(64), format="TIFF"))
    case("rgba.tif", saved(clear, format="TIFF"))
    case("rgb.bmp", saved(im, format="BMP"))
    case("palette.bmp", saved(im.quantize(256), format="BMP"))
    case("grey.bmp", saved(im.convert("L"), format="BMP"))
    case("palette.gif", saved(im.quantize(64), format="GIF"))
    case("grey.gif", saved(im.convert("L"), format="GIF"))
    case("transparent.gif", saved(im.quantize(16), format="GIF", transparency=3))
    case("animated.gif", saved(im.quantize(16), format="GIF", save_all=True, append_images=[scene(37, 29).quantize(16)]))
    screen = bytearray(saved(small.quantize(16), format="GIF", transparency=2))
    screen[6:10] = struct.pack("<HH", 25, 20)  # a screen larger than its frame
    at = bytes(screen).index(b"\x2c", 13 + 3 * 16)
    screen[at + 1:at + 5] = struct.pack("<HH", 4, 5)
    case("offset.gif", bytes(screen))
    case("lossy.webp", saved(im, format="WEBP", quality=80))
    case("lossy-even.webp", saved(scene(64, 48), format="WEBP", quality=60))
    case("lossy-alpha.webp", saved(clear, format="WEBP", quality=80))
    case("lossless.webp", saved(im, format="WEBP", lossless=True))
    case("lossless-alpha.webp", saved(clear, format="WEBP", lossless=True, exact=True))


def maps():
    def put(name, data, want):
        open(path("map", name), "wb").write(data)
        Image.fromarray(np.asarray(want).astype(np.uint16)).save(path("map", name + ".want.png"), optimize=True)

    deep = ramp16(21, 17)
    shallow = (deep >> 8).astype(np.uint8)
    put("grey-16.png", saved(Image.fromarray(deep), format="PNG"), deep)
    put("grey-16.tif", saved(Image.fromarray(deep), format="TIFF"), deep)
    put("grey-alpha-16.png", png16la(21, 17), deep)
    put("grey-8.png", saved(Image.fromarray(shallow), format="PNG"), shallow.astype(int) * 257)
    put("bits-1.png", saved(Image.fromarray(shallow).convert("1"), format="PNG"),
        np.asarray(Image.fromarray(shallow).convert("1")) * 65535)
    colour = scene(21, 17)
    put("rgb.png", saved(colour, format="PNG"), np.asarray(colour.convert("L")).astype(int) * 257)
    palette = colour.quantize(32)
    put("palette.png", saved(palette, format="PNG"), np.asarray(palette.convert("RGB").convert("L")).astype(int) * 257)
    turned = saved(Image.fromarray(deep), format="PNG", exif=exif(6))
    put("exif-6.png", turned, np.rot90(deep, -1))


def resize():
    source = scene(61, 43)
    source.save(path("resize", "source.png"))
    for w, h in [(61, 43), (24, 24), (7, 5), (96, 80), (61, 20), (1, 1), (100, 9), (20, 20), (20, 14)]:
        source.resize((w, h), Image.Resampling.BILINEAR).save(path("resize", f"{w}x{h}.png"), optimize=True)


def more():
    """Later cases, behind the others so that these keep their noise."""
    im = scene(45, 27)
    how = dict(format="JPEG", quality=85, progressive=True)
    case("jpeg-progressive-444.jpg", saved(im, subsampling=0, **how))
    case("jpeg-progressive-422.jpg", saved(im, subsampling=1, **how))
    case("jpeg-progressive-grey.jpg", saved(im.convert("L"), **how))
    case("jpeg-progressive-cmyk.jpg", saved(im.convert("CMYK"), **how))
    case("jpeg-progressive-rgb.jpg", saved(im, keep_rgb=True, **how))
    case("jpeg-progressive-restart.jpg", saved(im, subsampling=2, restart_marker_blocks=3, **how))
    case("jpeg-progressive-large.jpg", saved(scene(150, 110), subsampling=2, **how))
    case("jpeg-restart-rows.jpg", saved(im, format="JPEG", quality=85, subsampling=2, restart_marker_rows=1))
    case("jpeg-optimized.jpg", saved(im, format="JPEG", quality=97, subsampling=0, optimize=True))
    noise = Image.fromarray(rng.integers(0, 256, (27, 45, 3), dtype=np.uint8), "RGB")
    case("jpeg-noise.jpg", saved(noise, format="JPEG", quality=100, subsampling=0))
    case("jpeg-noise-coarse.jpg", saved(noise, format="JPEG", quality=2, subsampling=2))
    case("palette-alpha.png", saved(im.quantize(16), format="PNG", transparency=bytes(range(0, 256, 16))))
    case("grey-key.png", saved(im.convert("L"), format="PNG", transparency=im.convert("L").getpixel((5, 5))))
    case("bits-1-odd.png", saved(scene(3, 5).convert("1"), format="PNG"))
    case("rgba-16.png", png16rgba(31, 23))


def views():
    source = scene(61, 61)
    os.makedirs(path("view"), exist_ok=True)
    source.save(path("view", "source.png"))
    prepare = transforms.Compose([
        transforms.Resize(32, antialias=True), transforms.CenterCrop(28), transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    prepare(source).numpy().astype("<f4").tofile(path("view", "resize-32-crop-28.f32"))


def blurs():
    picture = np.asarray(Image.open(path("view", "source.png")), np.float64)[:13, :17].transpose(2, 0, 1) / 255
    y, x = np.mgrid[:13, :17]
    mask = (3 * x + 5 * y) % 11 / 10
    for sigma in 0.3, 2, 15:
        blurred = np.stack([ndimage.gaussian_filter(plane, sigma) for plane in picture])
        (mask * picture + (1 - mask) * blurred).astype("<f4").tofile(path("blur", f"{sigma}.f32"))


if __name__ == "__main__":
    decode()
    maps()
    resize()
    more()
    views()
    blurs()
