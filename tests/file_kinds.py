"""Beginnings of files of every kind that a user may give, and in what words they are told."""

import io
import json
import zipfile

# Of each kind the beginning of a file
KINDS = {
    "me.png": (b"\x89PNG\r\n\x1a\n" + bytes(64), "a picture (PNG)"),
    "me.npy": (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "an array (.npy)"),
    "film.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a video"),
    "net.onnx": (b"\x08\x08\x12\x07bilayer", "an ONNX network"),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(32), "a TensorFlow Lite network"),
    "net.pte": (b"\x1c\0\0\0ET12" + bytes(32), "an ExecuTorch network (.pte)"),
    "notes.txt": (b"what I wanted to say\n", "text"),
    "tool": (b"\x7fELF\x02\x01\x01" + bytes(57), "a program or library"),
    "book.pdf": (b"%PDF-1.7\n\x80\x81", "a PDF"),
    "pack.gz": (b"\x1f\x8b\x08" + bytes(32), "a gzip archive"),
    "old.pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a torch file (.pth)"),
    "empty": (b"", "an empty file"),
}


def archive(first):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(first, b"x")
    return content.getvalue()


def safetensors(**tensors):
    header = json.dumps(tensors or {"__metadata__": {"bilayer": "{}"}}).encode()
    return len(header).to_bytes(8, "little") + header


KINDS |= {
    "net.dlc": (archive("model"), "a .dlc or another zip archive"),
    "some.npz": (archive("landmarks.npy"), "arrays (.npz)"),
    "new.pth": (archive("archive/data.pkl"), "a torch file (.pth)"),
    "weights.safetensors": (safetensors(), "a checkpoint or texture (.safetensors)"),
    "texture.safetensors": (
        safetensors(texture={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        "a checkpoint or texture (.safetensors)",
    ),
}
