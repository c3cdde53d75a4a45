"""What a file starts like, before libraries are loaded that read it."""

from pathlib import Path

from bilayer.runtime.errors import InputError, PhotoError
from bilayer.runtime.files.reading import FileKind, open_file

HEAD = 512  # bytes by which a file is known
PHOTO_KINDS = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC"
# The brand at byte 8 tells a still picture from a video in the same container (ISO/IEC 23008-12 annex B)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
# The same as a further brand, where the first is one that nobody else knows
_HEIC_AMONG = (b"heic", b"mif1")
EMPTY, TEXT, DATA = "an empty file", "text", "data"
TORCH, ZIP = "a torch file (.pth)", "a .dlc or another zip archive"
NPY, NPZ, PROGRAM = "an array (.npy)", "arrays (.npz)", "a program or library"
ONNX, TFLITE, SAFETENSORS = "an ONNX network", "a TensorFlow Lite network", "a checkpoint or texture (.safetensors)"
PICTURES = ("a photo", "a picture", "a HEIC picture", "an AVIF picture")  # how the kinds of what shows something begin
# Pictures that are told apart where they are opened, and what may be any
_MAYBE_PICTURES = ("a Photoshop file", "a JPEG XL picture", "a JPEG 2000 picture", DATA)
_MAGIC = {
    b"\xff\xd8\xff": "a photo (JPEG)",
    b"\x89PNG": "a picture (PNG)",
    b"GIF8": "a picture (GIF)",
    b"II*\0": "a picture (TIFF)",
    b"MM\0*": "a picture (TIFF)",
    b"II+\0": "a picture (TIFF)",  # BigTIFF
    b"MM\0+": "a picture (TIFF)",
    b"IIU\0": "a camera's raw picture",  # Panasonic
    b"IIRO": "a camera's raw picture",  # Olympus
    b"IIRS": "a camera's raw picture",
    b"FUJIFILMCCD-RAW": "a camera's raw picture",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\x1a\x45\xdf\xa3": "a video",
    b"FLV\x01": "a video",
    b"OggS": "a video",  # or sound alone, which is seen when it is read
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "a video",  # ASF: .wmv
    b"\0\0\1\xba": "a video",  # MPEG's program stream
    b"\0\0\1\xb3": "a video",  # MPEG-1 and 2 by themselves
    b"ID3": "sound",
    b"fLaC": "sound",
    b"%PDF": "a PDF",
    b"\x93NUMPY": NPY,
    b"\x7fELF": PROGRAM,
    b"\x1f\x8b": "a gzip archive",
    **{bytes((0x80, protocol)): TORCH for protocol in (2, 3, 4, 5)},  # pickles, of torch before 1.6
}
_ARCHIVES = {"data.pkl": TORCH, ".npy": NPZ}  # zip archives, by how the name of the first file in it ends


def kind_of(path: Path, error: type[InputError] = InputError) -> str:
    """Return what a file starts like, as "a photo (JPEG)", "a video", "text", "data", or an InputError (`error`)."""
    with open_file(path, FileKind.ANY, error) as file:
        return describe_head(file.read(HEAD))


def describe_head(head: bytes) -> str:
    """Return `kind_of` of the first HEAD bytes of a file."""
    if not head:
        return EMPTY
    if head[:4] == b"II*\0" and head[8:10] == b"CR":
        return "a camera's raw picture"  # Canon
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head.startswith(b"PK\x03\x04"):
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")
        return next((kind for end, kind in _ARCHIVES.items() if first.endswith(end)), ZIP)
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return TEXT
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "a picture (BMP)"
    if head[4:8] == b"TFL3":
        return TFLITE
    if head[4:6] == b"ET" and head[6:8].isdigit():
        return "an ExecuTorch network (.pte)"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a picture (WebP)"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "sound"
    if b"GG" in (head[0::188][:2], head[4::192][:2]):  # packets of a transport stream; of a camcorder's
        return "a video"
    if head[4:8] == b"ftyp":
        if head[8:12] in _HEIC_BRANDS:
            return "a HEIC picture"
        if head[8:12] == b"crx ":
            return "a camera's raw picture"  # Canon
        if head[8:12] in (b"M4A ", b"M4B "):
            return "sound"
        if head[8:12] in (b"avif", b"avis"):
            return "an AVIF picture"
        further = {head[start : start + 4] for start in range(16, min(int.from_bytes(head[:4], "big"), HEAD), 4)}
        return "a HEIC picture" if further & {*_HEIC_AMONG} else "a video"
    if head[8:12] == b"AVI ":
        return "a video"
    if head[8:10] == b'{"' and head[5:8] == b"\0\0\0":  # a header's length, below 16 MB, and its JSON
        return SAFETENSORS
    if (head[:1] == b"\x08" and head[2:3] in (b"\x12", b":")) or head[:1] == b":":  # ir_version, then producer or graph
        return ONNX
    return DATA


def check_photo_file(path: Path) -> None:
    """See from its first bytes that a file may be a photo; that it is one is seen when it is read.

    Raises:
        PhotoError: no such file, an empty one, or another kind of file.
    """
    with open_file(path, FileKind.PHOTO, PhotoError) as file:
        kind = describe_head(file.read(HEAD))
    way_out = {
        EMPTY: "copy or download it again",
        "a camera's raw picture": "develop it, and save it as JPEG or PNG",
        "a video": "extract a frame: ffmpeg -i VIDEO -frames:v 1 frame.png",
        "a PDF": "save the picture in it as JPEG or PNG",
    }
    if kind in way_out or not (kind.startswith(PICTURES) or kind in _MAYBE_PICTURES):
        way = way_out.get(kind, "name the picture file itself")
        raise PhotoError(f"{path}: expected a photo ({PHOTO_KINDS}), found {kind}; {way}")
