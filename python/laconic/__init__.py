"""Laconic for Python: codecs on numpy arrays and torch tensors, feedback memories, exchanges between ranks.

    import laconic, numpy
    codec = laconic.Codec("outliers(fraction=0.01) + onebit")
    frame = codec.encode(numpy.random.randn(1000, 100).astype("f4"))
    restored = laconic.decode(frame)

Arrays cross by the buffer protocol or DLPack, without a copy; torch is imported by laconic.torch alone.
"""

import atexit as _atexit
import warnings as _warnings
import weakref as _weakref

from ._engine import (Codec, CorruptError, Error, Feedback, InputError, InternalError, InterruptedRun, IoError,
                      UnsupportedError, UsageError, codecs, decode, methods)
from . import _engine

__all__ = ["Codec", "CorruptError", "Error", "Exchange", "Feedback", "InputError", "InternalError",
           "InterruptedRun", "IoError", "UnsupportedError", "UsageError", "codecs", "decode", "methods"]

_open = _weakref.WeakSet()


class Exchange(_engine.Exchange):
    """One vector per rank becomes one agreed vector; see `help(laconic.Exchange.__init__)` for the arguments.

    `carrier` brings messages to other ranks: an object with send, receive_length, receive_into and abandon
    (laconic.torch.ProcessGroupCarrier, for one). A step is begin(step), ready(tensor) for every tensor, end().
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        _open.add(self)
        for message in self.messages:
            _warnings.warn(message, stacklevel=2)


@_atexit.register
def _close_all():
    # A thread of the engine that calls into Python must not outlive Python.
    for exchange in list(_open):
        exchange.close()
