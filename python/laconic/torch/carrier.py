"""Carries the engine's messages over a process group of torch.distributed, rank to rank."""

import datetime

import torch
import torch.distributed as distributed


class ProcessGroupCarrier:
    """A message is its length (8 bytes) and its bytes, both under the engine's tag.

    Used by one thread, in the engine's order: every rank runs the same exchanges, and each ends only when all
    its messages are read. So sends of an earlier exchange may be waited for when the next one begins; those of
    the same one may not, since their receivers could be waiting likewise.
    """

    def __init__(self, process_group=None, timeout=300.0):
        """`process_group`: gloo; None makes a new one of all ranks, so every rank must do it."""
        if not distributed.is_initialized():
            raise RuntimeError("torch.distributed is not initialised: call init_process_group first")
        self._owns_group = process_group is None
        if process_group is None:
            process_group = distributed.new_group(backend="gloo", timeout=datetime.timedelta(seconds=timeout))
        if distributed.get_backend(process_group) != "gloo":
            raise ValueError("the engine's messages travel over gloo: give distributed.new_group(backend='gloo')")
        self.group = process_group
        self.rank = distributed.get_rank(process_group)
        self.size = distributed.get_world_size(process_group)
        # torch names peers by their rank in the default group.
        self._peers = [distributed.distributed_c10d.get_global_rank(process_group, rank)
                       if process_group is not distributed.group.WORLD else rank for rank in range(self.size)]
        self._tag = None
        self._sends = []  # (work, tensor), of one exchange

    def send(self, to, tag, array):
        if tag != self._tag:
            self._finish_sends()
            self._tag = tag
        body = torch.from_numpy(array)
        length = torch.tensor([body.numel()], dtype=torch.int64)
        parts = [length] if body.numel() == 0 else [length, body]
        for part in parts:
            work = distributed.isend(part, self._peers[to], group=self.group, tag=tag)
            self._sends.append((work, part))

    def receive_length(self, source, tag):
        length = torch.zeros(1, dtype=torch.int64)
        distributed.irecv(length, self._peers[source], group=self.group, tag=tag).wait()
        return int(length)

    def receive_into(self, source, tag, array):
        distributed.irecv(torch.from_numpy(array), self._peers[source], group=self.group, tag=tag).wait()

    def finish(self):
        """Returns when everything that was sent is read, so that this process may end."""
        self._finish_sends()

    def abandon(self, reason):
        """Closes the connections, so that ranks that wait for this one need not wait for the timeout."""
        self._sends.clear()
        if self._owns_group and self.group is not None:
            distributed.destroy_process_group(self.group)
        self.group = None

    def _finish_sends(self):
        for work, _ in self._sends:
            work.wait()
        self._sends.clear()
