"""What the tests of the Python module share: ranks as threads, and ranks as processes over gloo."""

import collections
import os
import queue
import socket
import tempfile
import threading
import traceback
import unittest

try:
    import torch
    import torch.distributed
except ImportError:
    torch = None

needs_torch = unittest.skipIf(torch is None, "torch is not installed")


class ThreadCarrier:
    """Brings messages between threads of this process."""

    def __init__(self, rank, boxes):
        self.rank, self.boxes, self.next = rank, boxes, None
        self.broken = None

    def send(self, to, tag, array):
        self.boxes[self.rank, to, tag].put(array.tobytes())

    def receive_length(self, source, tag):
        self.next = self.boxes[source, self.rank, tag].get(timeout=60)
        return len(self.next)

    def receive_into(self, source, tag, array):
        array[:] = memoryview(self.next)

    def finish(self):
        pass

    def abandon(self, reason):
        self.broken = reason


class Boxes:
    def __init__(self):
        self._lock = threading.Lock()
        self._boxes = collections.defaultdict(queue.SimpleQueue)

    def __getitem__(self, key):
        with self._lock:
            return self._boxes[key]


def on_threads(ranks, body):
    """body(rank, carrier) on one thread per rank; their results by rank."""
    boxes, results, failures = Boxes(), [None] * ranks, []

    def run(rank):
        try:
            results[rank] = body(rank, ThreadCarrier(rank, boxes))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def _process(rank, ranks, port, body, arguments, folder):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group("gloo")
        result = body(rank, *arguments)
        torch.save(("result", result), f"{folder}/{rank}")
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    except BaseException:
        torch.save(("failure", traceback.format_exc()), f"{folder}/{rank}")
        os._exit(1)


def on_processes(ranks, body, *arguments):
    """body(rank, *arguments) in one process per rank over gloo; their results by rank. Fails with the first
    traceback."""
    import torch.multiprocessing as processes
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        context = processes.get_context("spawn")
        started = [context.Process(target=_process, args=(rank, ranks, port, body, arguments, folder))
                   for rank in range(ranks)]
        for process in started:
            process.start()
        for process in started:
            process.join(240)
            if process.is_alive():
                process.kill()
        outcomes = [torch.load(f"{folder}/{rank}") if os.path.exists(f"{folder}/{rank}") else ("failure", "no result")
                    for rank in range(ranks)]
    failures = [f"rank {rank}: {text}" for rank, (kind, text) in enumerate(outcomes) if kind == "failure"]
    if failures:
        raise AssertionError("\n".join(failures))
    return [result for _, result in outcomes]
