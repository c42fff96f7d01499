"""Our side: calls the Go program, which computes a task in a folder."""
import json
import pathlib
import subprocess
import tempfile

from safetensors.torch import load_file, save_file


class Ours:
    def __init__(self, program):
        self.program = program

    def tensors(self, task, job, tensors):
        """What a task makes of tensors, by name."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "in.safetensors")
            self.call(task, job, folder)
            return load_file(folder / "out.safetensors")

    def call(self, task, job, folder):
        """Lets a task work in a folder that holds what it wants beside its job."""
        (folder / "job.json").write_text(json.dumps(job))
        subprocess.run([self.program, task, folder], check=True)
