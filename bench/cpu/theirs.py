"""PyTorch's side of the comparison: one network, one task, one mode.

usage: theirs.py --case CASE --task step|inference --mode MODE --threads N --precision f32|bf16
                 --batch N --size N --reps N

Builds the network, warms up and prints a line of JSON about itself. For every line
on standard input it then measures so many repetitions and prints their times in
milliseconds; at the end of the input it prints the memory they took.
"""
import argparse
import json
import pathlib
import sys
import time

import torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "pytorch"))
from networks import Case

WARM = 3


def status(field):
    """A size in bytes from the kernel's account of this process, 0 where there is none."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def reset_peak():
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def build(a):
    """The function that is measured, and the number of parameters."""
    layout = torch.contiguous_format if a.mode == "eager" else torch.channels_last
    case = Case(a.case, a.batch, a.size, layout=layout)
    if a.mode == "compile":
        case.compile()
    cast = torch.autocast("cpu", torch.bfloat16, enabled=a.precision == "bf16")
    optimizer = torch.optim.SGD(case.net.parameters(), lr=1e-3, momentum=0.9)

    def step():
        with cast:
            value = case.loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    def inference():
        with torch.inference_mode(), cast:
            case.infer()

    case.net.train(a.task == "step")
    return {"step": step, "inference": inference}[a.task], case.parameters()


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("case", "task", "mode", "precision"):
        p.add_argument("--" + name, required=True)
    for name in ("threads", "batch", "size", "reps"):
        p.add_argument("--" + name, type=int, required=True)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    reset_peak()
    before = status("VmRSS")
    once, parameters = build(a)
    for _ in range(WARM):
        once()
    say(parameters=parameters, about=f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})")
    for _ in sys.stdin:
        times = []
        for _ in range(a.reps):
            began = time.perf_counter()
            once()
            times.append(1e3 * (time.perf_counter() - began))
        say(times=times)
    say(memory=max(status("VmHWM") - before, 0))


if __name__ == "__main__":
    main()
