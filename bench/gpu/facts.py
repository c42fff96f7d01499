"""What a GPU machine has, and the rates that nothing on it can pass.

    facts.py DEVICE
"""
import os
import platform
import sys
import time

import torch

GIB = 1 << 30


def rate(device, amount, once, seconds=1.0):
    """The best of a second's trials."""
    best, end = 0.0, time.perf_counter() + seconds
    once()
    while time.perf_counter() < end:
        wait(device)
        began = time.perf_counter()
        once()
        wait(device)
        best = max(best, amount / (time.perf_counter() - began))
    return best


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main():
    device = torch.device(sys.argv[1])
    print(f"Python {platform.python_version()}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, "
          f"cuDNN {torch.backends.cudnn.version()}, {os.cpu_count()} cores")
    if device.type == "cuda":
        print(torch.cuda.get_device_properties(device))
    there = torch.empty(GIB // 4, dtype=torch.uint8, device=device)
    other, pinned = torch.empty_like(there), torch.empty(GIB // 4, dtype=torch.uint8, pin_memory=device.type == "cuda")
    n = there.numel()
    print(f"copies: {rate(device, 2 * n, lambda: other.copy_(there)) / 1e9:.0f} GB/s on the device (read and written), "
          f"{rate(device, n, lambda: there.copy_(pinned, non_blocking=True)) / 1e9:.1f} GB/s to it, "
          f"{rate(device, n, lambda: pinned.copy_(there, non_blocking=True)) / 1e9:.1f} GB/s from it")
    side = 8192 if device.type == "cuda" else 256
    for kind in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
        print(f"products of {kind}, {side} x {side}: {rate(device, 2 * side**3, lambda: a @ b) / 1e12:.1f} TFLOP/s")


if __name__ == "__main__":
    main()
