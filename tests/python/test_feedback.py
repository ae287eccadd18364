import unittest

import numpy

import laconic


class Feedback(unittest.TestCase):
    def test_error_feedback_loses_nothing(self):
        random = numpy.random.default_rng(2)
        memory, codec = laconic.Feedback(500, error=True), laconic.Codec("outliers(fraction=0.05,dtype=f32)")
        given, said = numpy.zeros(500), numpy.zeros(500)
        for step in range(30):
            gradient = random.standard_normal(500, dtype=numpy.float32)
            to_send = memory.make(gradient)
            message = codec.encode_message(to_send, step=step)
            decoded = codec.decode_message(message, (500,))
            memory.settle(decoded, codec.positions(message, (500,)))
            given += gradient
            said += decoded
        numpy.testing.assert_allclose(said + memory.error, given, atol=1e-4)

    def test_momentum_correction_as_in_the_worked_example_of_deep_gradient_compression(self):
        memory = laconic.Feedback(3, velocity=True, momentum=0.9)
        codec, sent = laconic.Codec("outliers(fraction=0.34,dtype=f32)"), []
        for gradient in ((1, -0.5, 0.2), (0.1, -0.6, 0.2), (0.3, 0.1, 0.2)):
            to_send = memory.make(numpy.array(gradient, dtype="f4"))
            message = codec.encode_message(to_send)
            decoded, positions = codec.decode_message(message, (3,)), codec.positions(message, (3,))
            sent.append((positions.tolist(), [round(float(decoded[i]), 6) for i in positions]))
            memory.settle(decoded, positions)
        self.assertEqual(sent, [([0], [1.0]), ([1], [-1.55]), ([2], [1.122])])

    def test_state_moves_to_another_object(self):
        memory, other = laconic.Feedback(4, error=True), laconic.Feedback(4, error=True)
        memory.make(numpy.array([1, 2, 3, 4], dtype="f4"))
        memory.settle(numpy.array([1, 1, 1, 1], dtype="f4"))
        state = memory.save()
        other.restore(state)
        self.assertEqual(other.error.tolist(), [0, 1, 2, 3])
        with self.assertRaises(laconic.UsageError):
            laconic.Feedback(5, error=True).restore(state)
        bent = bytearray(state)
        bent[-9] ^= 1
        with self.assertRaises(laconic.CorruptError):
            other.restore(bent)

    def test_turns_sizes_and_positions_are_checked(self):
        memory = laconic.Feedback(4, velocity=True, momentum=0.5)
        vector = numpy.ones(4, dtype="f4")
        with self.assertRaisesRegex(laconic.UsageError, "nothing was made"):
            memory.settle(vector)
        with self.assertRaisesRegex(laconic.UsageError, "3 numbers"):
            memory.make(vector[:3])
        out = numpy.zeros(4, dtype="f4")
        self.assertIs(memory.make(vector, out=out), out)
        with self.assertRaisesRegex(laconic.UsageError, "not settled"):
            memory.make(vector)
        with self.assertRaisesRegex(laconic.UsageError, "outside"):
            memory.settle(vector, [4])
        memory.undo()
        self.assertEqual(memory.velocity.tolist(), [0, 0, 0, 0])
        with self.assertRaises(laconic.UsageError):
            laconic.Feedback(4, error=True, eta=2.0)


if __name__ == "__main__":
    unittest.main()
