"""Our side: the Go program, which computes tasks in folders as it is told."""
import json
import pathlib
import subprocess
import tempfile

from safetensors.torch import load_file, save_file


class Refused(Exception):
    """Our side does not do a task."""


class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tensors(self, task, job, tensors):
        """What a task makes of tensors, by name."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "in.safetensors")
            self.call(task, job, folder)
            return load_file(folder / "out.safetensors")

    def json(self, task, job):
        """What a task finds."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            self.call(task, job, folder)
            return json.loads((folder / "out.json").read_text())

    def call(self, task, job, folder):
        """Lets a task work in a folder that holds what it wants beside its job."""
        (folder / "job.json").write_text(json.dumps(job))
        print(task, folder, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if answer != "done":
            raise Refused(answer or "our side has ended")
