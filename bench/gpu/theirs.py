"""PyTorch's side of the comparison: one network, one task, one mode.

usage: theirs.py --case CASE --task step|inference --mode MODE --precision bf16|tf32|f32
                 --batch N --size N --reps N --device cuda|cpu [--upload]

Builds the network, compiles it unless the mode is eager, warms up and prints a line of
JSON about itself. For every line on standard input it then measures so many repetitions
and prints their times in milliseconds; at the end of the input it prints the most
memory that its tensors took.

Everything that PyTorch offers for speed is on: channels_last, autocast, cuDNN's search
for the fastest algorithm, the fused optimiser. MODE is eager, compile, or what
torch.compile calls a mode, such as max-autotune-no-cudagraphs or reduce-overhead. The
images stay on the device, unless --upload has them copied to it for every repetition.
"""
import argparse
import json
import pathlib
import sys
import time

import torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "pytorch"))
from networks import Case

WARM, SETTLED, DECAY = 10, 3, 1e-4


def build(a):
    """The case, and the function that is measured."""
    case = Case(a.case, a.batch, a.size, a.device, torch.channels_last)
    if a.mode != "eager":
        case.compile(mode=None if a.mode == "compile" else a.mode)
    cast = torch.autocast(a.device.partition(":")[0], torch.bfloat16, enabled=a.precision == "bf16")
    pinned = torch.empty_like(case.images, device="cpu", pin_memory=a.device != "cpu").copy_(case.images) if a.upload else None
    optimizer = torch.optim.SGD(case.net.parameters(), lr=1e-3, momentum=0.9, weight_decay=DECAY, fused=True)

    def begin():
        torch.compiler.cudagraph_mark_step_begin()
        if a.upload:
            case.images.copy_(pinned, non_blocking=True)

    def step():
        begin()
        optimizer.zero_grad(set_to_none=True)
        with cast:
            value = case.loss()
        value.backward()
        optimizer.step()

    def inference():
        begin()
        with torch.inference_mode(), cast:
            case.infer()

    case.net.train(a.task == "step")
    return case, {"step": step, "inference": inference}[a.task]


class GPU:
    """Times and memory of a GPU."""

    def __init__(self, device):
        torch.cuda.set_device(torch.device(device).index or 0)

    def settle(self):
        """Gives back what warming up took, and counts from here on."""
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def times(self, once, reps):
        events = [torch.cuda.Event(enable_timing=True) for _ in range(reps + 1)]
        torch.cuda.synchronize()
        events[0].record()
        for event in events[1:]:
            once()
            event.record()
        torch.cuda.synchronize()
        return [a.elapsed_time(b) for a, b in zip(events, events[1:])]

    def memory(self):
        return torch.cuda.max_memory_allocated()


class CPU:
    """The same of a CPU, to try the comparison out."""

    def __init__(self, device):
        pass

    def settle(self):
        pass

    def times(self, once, reps):
        clock = [time.perf_counter()]
        for _ in range(reps):
            once()
            clock.append(time.perf_counter())
        return [1e3 * (b - a) for a, b in zip(clock, clock[1:])]

    def memory(self):
        return 0


def say(**message):
    print(json.dumps(message), flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("case", "task", "mode", "precision", "device"):
        p.add_argument("--" + name, required=True)
    for name in ("batch", "size", "reps"):
        p.add_argument("--" + name, type=int, required=True)
    p.add_argument("--upload", action="store_true")
    a = p.parse_args()
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = a.precision == "tf32"
    device = (CPU if a.device == "cpu" else GPU)(a.device)
    case, once = build(a)
    device.times(once, WARM)
    device.settle()
    device.times(once, SETTLED)
    say(parameters=case.parameters(), about=f"PyTorch {torch.__version__} (cuDNN {torch.backends.cudnn.version()})")
    for _ in sys.stdin:
        say(times=device.times(once, a.reps))
    say(memory=device.memory())


if __name__ == "__main__":
    main()
