"""Hides JAX, which TensorFlow imports where it is installed: a second in each of forty kernels.

It is installed for the one test of a second backend; a user of TensorFlow has none.
"""

raise ImportError("JAX is hidden from tests of TensorFlow, see tests/conftest.py")
