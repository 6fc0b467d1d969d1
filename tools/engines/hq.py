"""Stands in for the command `hq` where only HyperQueue's Python package is installed, which brings server, worker and client but
no command: just enough of `hq submit` for `cargo xtask sweep --engine hq`. The tasks are scheduled and run by HyperQueue itself.

    hq.py serve FOLDER CORES     a server and a worker, until it is killed
    hq.py submit …               as `hq submit`, to the server of the folder HQ_SERVER
"""

import argparse
import os
import sys
import time
from pathlib import Path

from hyperqueue import Client, Job
from hyperqueue.cluster import LocalCluster, WorkerConfig
from hyperqueue.ffi.protocol import ResourceRequest


def serve(folder, cores):
    Path(folder).mkdir(parents=True, exist_ok=True)
    with LocalCluster(folder, WorkerConfig(cores=int(cores))):
        Path(folder, "ready").touch()
        while True:
            time.sleep(3600)


def numbers(array):
    """The numbers of `0-3,7`."""
    for part in array.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def submit(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--array", required=True)
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--name")
    parser.add_argument("--stdout")
    parser.add_argument("--stderr")
    parser.add_argument("--wait", action="store_true")
    split = words.index("--")
    how, command = parser.parse_args(words[:split]), words[split + 1 :]
    # A task that fails is no reason to give up the others: that is what `hq submit` does too.
    job = Job(default_workdir=os.getcwd(), max_fails=None, name=how.name)
    for task in numbers(how.array):
        log = how.stdout.replace("%{JOB_ID}", "job").replace("%{TASK_ID}", str(task))
        request = ResourceRequest(cpus=int(how.cpus))
        job.program(command, env={"HQ_TASK_ID": str(task)}, stdout=log, stderr=log + ".errors", resources=request)
    client = Client(os.environ["HQ_SERVER"])
    submitted = client.submit(job)
    if how.wait and not client.wait_for_jobs([submitted], raise_on_error=False):
        sys.exit(1)


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    {"serve": lambda words: serve(*words), "submit": submit}[verb](words)
