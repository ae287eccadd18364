import json
import os
import pathlib
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import numpy

import laconic
from laconic import _engine
from support import needs_torch, torch


def numbers(*shape, seed=1):
    return numpy.random.default_rng(seed).standard_normal(shape, dtype=numpy.float32)


class Codecs(unittest.TestCase):
    def test_every_codec_that_needs_no_calibration_makes_frames_that_decode(self):
        array, worked = numbers(24, 64), 0
        for row in laconic.codecs():
            codec = laconic.Codec(row["name"])
            try:
                frame = codec.encode(array, seed=3)
            except laconic.UsageError as error:
                self.assertIn("moments", str(error))
                continue
            worked += 1
            decoded = laconic.decode(frame)
            self.assertEqual((decoded.shape, decoded.dtype), (array.shape, numpy.float32), row["name"])
            self.assertEqual(frame, codec.encode(array, seed=3))
        self.assertGreater(worked, 8)

    def test_a_composition_prints_canonically_and_decodes_to_the_same_bits_each_time(self):
        codec = laconic.Codec("uniform( bits=2, group=64 ) + lowrank(rank=4)|rans")
        self.assertEqual(str(laconic.Codec(str(codec))), codec.text)
        array = numbers(64, 128)
        frame = codec.encode(array)
        first, second = laconic.decode(frame), laconic.decode(bytearray(frame))
        self.assertEqual(first.tobytes(), second.tobytes())
        self.assertLess(numpy.linalg.norm(first - array), 0.6 * numpy.linalg.norm(array))
        self.assertLess(len(frame), array.nbytes // 8)

    def test_lossless_codecs_are_bit_exact_in_every_real_type(self):
        for dtype in ("f2", "f4"):
            array = numbers(7, 5).astype(dtype)
            decoded = laconic.decode(laconic.Codec("raw").encode(array))
            self.assertEqual(decoded.astype(dtype).tobytes(), array.tobytes())

    def test_one_bit_is_sign_times_mean_magnitude(self):
        array = numpy.array([1, -2, 0.5, 0], dtype="f4")
        decoded = laconic.decode(laconic.Codec("onebit").encode(array))
        self.assertEqual(decoded.tolist(), [0.875, -0.875, 0.875, 0.875])

    def test_results_go_where_the_caller_says(self):
        array = numbers(16, 16)
        codec = laconic.Codec("outliers(fraction=0.1,dtype=f32)")
        frame = codec.encode(array)
        out = numpy.full((16, 16), 7, dtype="f4")
        self.assertIs(laconic.decode(frame, out=out), out)
        self.assertEqual(out.tobytes(), laconic.decode(frame).tobytes())
        half = numpy.zeros((16, 16), dtype="f2")
        laconic.decode(frame, out=half)
        self.assertEqual(half.tobytes(), out.astype("f2").tobytes())
        space = bytearray(4096)
        self.assertEqual(space[:codec.encode(array, out=space)], frame)
        with self.assertRaisesRegex(laconic.UsageError, "room for 8 bytes"):
            codec.encode(array, out=bytearray(8))
        with self.assertRaisesRegex(laconic.UsageError, "shape"):
            laconic.decode(frame, out=numpy.zeros((4, 64), dtype="f4"))
        frozen = numpy.zeros((16, 16), dtype="f4")
        frozen.flags.writeable = False
        with self.assertRaisesRegex(laconic.UsageError, "read-only"):
            laconic.decode(frame, out=frozen)

    def test_messages_are_shorter_and_add_up(self):
        array = numbers(40, 25)
        codec = laconic.Codec("outliers(fraction=0.02,dtype=f32)")
        message = codec.encode_message(array)
        self.assertLess(len(message), len(codec.encode(array)))
        decoded = codec.decode_message(message, array.shape)
        positions = codec.positions(message, array.shape)
        self.assertEqual(positions.tolist(), numpy.flatnonzero(decoded).tolist())
        self.assertEqual(len(positions), 20)
        total = array.copy()
        codec.add_decoded(message, total)
        self.assertEqual(total.tobytes(), (array + decoded).tobytes())
        dense = laconic.Codec("onebit")
        self.assertIsNone(dense.positions(dense.encode_message(array), array.shape))
        self.assertAlmostEqual(codec.properties(array.shape)["delta"], 0.02, places=3)

    def test_damage_is_refused(self):
        frame = laconic.Codec("onebit").encode(numbers(100))
        for at in range(0, len(frame), 7):
            bent = bytearray(frame)
            bent[at] ^= 0x10
            with self.assertRaises(laconic.CorruptError):
                laconic.decode(bent)
        with self.assertRaises(ValueError):
            laconic.decode(frame[:-1])
        codec = laconic.Codec("outliers(fraction=0.1)")
        message = codec.encode_message(numbers(50))
        for length in range(len(message)):
            with self.assertRaises(laconic.CorruptError):
                codec.decode_message(message[:length], (50,))

    def test_errors_keep_their_text_and_their_kind(self):
        with self.assertRaisesRegex(laconic.UsageError, "outliers"):
            laconic.Codec("outlier(fraction=0.1)")
        bad = numbers(10)
        bad[3] = numpy.nan
        with self.assertRaisesRegex(laconic.Error, "layer.7.*3"):
            laconic.Codec("onebit").encode(bad, name="layer.7")
        with self.assertRaisesRegex(laconic.UsageError, "not contiguous"):
            laconic.Codec("onebit").encode(numbers(10, 10)[:, ::2])
        with self.assertRaisesRegex(laconic.UsageError, "buffer protocol"):
            laconic.Codec("onebit").encode([1.0, 2.0])
        with self.assertRaises(laconic.UsageError):
            laconic.Codec("onebit").encode(numpy.zeros(4, dtype="c8"))

    def test_arrays_are_read_where_they_lie(self):
        array = numbers(33, 3)
        self.assertEqual(_engine.borrowed(array), (array.ctypes.data, "F32", (33, 3)))
        self.assertEqual(_engine.borrowed(array[5:9])[0], array.ctypes.data + 5 * 3 * 4)
        data = bytearray(b"abc")
        self.assertEqual(_engine.borrowed(data)[1:], ("U8", (3,)))
        data.append(1)  # nothing is held after the call

    def test_the_interpreter_runs_on_while_a_codec_works(self):
        # Long enough to see: if the GIL were held, the loop below could not run once while encode does.
        array = numbers(4_000_000)
        codec = laconic.Codec("uniform(bits=4,group=64)|rans")
        ended, span = threading.Event(), []

        def encode():
            begin = time.perf_counter()
            for _ in range(2):
                codec.encode(array)
            span.append(time.perf_counter() - begin)
            ended.set()

        thread = threading.Thread(target=encode)
        thread.start()
        longest, last = 0.0, time.perf_counter()
        while not ended.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        thread.join()
        self.assertLess(longest, 0.25 * span[0], f"held for {longest:.3f} of {span[0]:.3f} s")

    def test_methods_are_those_of_the_registry(self):
        slugs = [row["slug"] for row in laconic.methods()]
        listed = subprocess.run([os.environ["LACONIC_PROGRAM"], "list", "--json"], capture_output=True, check=True)
        self.assertEqual(slugs, [row["slug"] for row in json.loads(listed.stdout)])


@needs_torch
class TorchTensors(unittest.TestCase):
    def test_tensors_are_read_where_they_lie_in_their_own_type(self):
        for dtype, name in ((torch.float32, "F32"), (torch.float16, "F16"), (torch.bfloat16, "BF16"),
                            (torch.float64, "F64")):
            tensor = torch.randn(5, 8).to(dtype)
            self.assertEqual(_engine.borrowed(tensor), (tensor.data_ptr(), name, (5, 8)))
        part = torch.randn(6, 4)[2:5]
        self.assertEqual(_engine.borrowed(part), (part.data_ptr(), "F32", (3, 4)))
        parameter = torch.nn.Parameter(torch.randn(3))
        self.assertEqual(_engine.borrowed(parameter)[0], parameter.data_ptr())
        with self.assertRaisesRegex(laconic.UsageError, "contiguous"):
            _engine.borrowed(torch.randn(4, 4).t())

    def test_tensors_and_arrays_give_the_same_bytes(self):
        array = numbers(30, 20)
        codec = laconic.Codec("qsgd")
        self.assertEqual(codec.encode(torch.from_numpy(array), seed=5), codec.encode(array, seed=5))

    def test_decodes_into_tensors(self):
        tensor = torch.randn(12, 12, dtype=torch.float32).to(torch.bfloat16)
        frame = laconic.Codec("raw").encode(tensor)
        out = torch.zeros(12, 12, dtype=torch.bfloat16)
        self.assertIs(laconic.decode(frame, out=out), out)
        self.assertTrue(torch.equal(out, tensor))

    def test_a_tensor_decodes_to_the_same_bits_as_the_command_line_gives(self):
        source = pathlib.Path(os.environ["LACONIC_SOURCE_DIR"]) / "assets/stories"
        program, text = os.environ["LACONIC_PROGRAM"], "uniform(bits=3,group=64)"
        with tempfile.TemporaryDirectory() as folder:
            for arguments in (["compress", source, "-m", text, "-o", f"{folder}/small"],
                              ["decompress", f"{folder}/small", "-o", f"{folder}/back"]):
                subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)
            before, after = read_safetensors(source), read_safetensors(pathlib.Path(folder) / "back")
        codec, compared = laconic.Codec(text), 0
        for name, tensor in before.items():
            if tensor.dim() == 2 and "proj" in name:
                out = torch.empty_like(tensor)
                laconic.decode(codec.encode(tensor, name=name), out=out)
                self.assertTrue(torch.equal(out, after[name]), name)
                compared += 1
        self.assertGreater(compared, 20)


def read_safetensors(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + length]).items():
            if name == "__metadata__" or entry["dtype"] not in ("BF16", "F32"):
                continue
            begin, end = entry["data_offsets"]
            raw = bytearray(data[8 + length + begin:8 + length + end])
            dtype = torch.bfloat16 if entry["dtype"] == "BF16" else torch.float32
            tensors[name] = torch.frombuffer(raw, dtype=dtype).view(entry["shape"])
    return tensors


if __name__ == "__main__":
    unittest.main()
