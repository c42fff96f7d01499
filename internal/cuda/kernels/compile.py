"""Compiles every *.cu of this folder, or those named, with libnvrtc; see compile."""

import ctypes
import glob
import hashlib
import pathlib
import sys

nvrtc = ctypes.CDLL("libnvrtc.so.12")
OPTIONS = [
    b"--gpu-architecture=compute_80",
    b"--std=c++17",
    b"--fmad=true",
    b"--device-as-default-execution-space",  # for lambdas, which take no __device__
]


def text_of(program, size, get):
    n = ctypes.c_size_t()
    size(program, ctypes.byref(n))
    buffer = ctypes.create_string_buffer(n.value)
    get(program, buffer)
    return buffer.value.decode()


def compiled(name, source, common):
    program = ctypes.c_void_p()
    headers = (ctypes.c_char_p * 1)(common)
    names = (ctypes.c_char_p * 1)(b"common.cuh")
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 1, headers, names)
    failed = nvrtc.nvrtcCompileProgram(program, len(OPTIONS), (ctypes.c_char_p * len(OPTIONS))(*OPTIONS))
    log = text_of(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
    if log.strip():
        print(log, file=sys.stderr)
    if failed:
        sys.exit(f"{name}: not compiled")
    return text_of(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)


common = pathlib.Path("common.cuh").read_bytes()
for name in sys.argv[1:] or sorted(glob.glob("*.cu")):
    source = pathlib.Path(name).read_bytes()
    key = hashlib.sha256(source + common).hexdigest()
    ptx = compiled(name, source, common)
    pathlib.Path(name).with_suffix(".ptx").write_text(f"// {key}\n{ptx}")
