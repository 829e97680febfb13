"""Kernels that are forked are like others: environment, folder and end; the package is not in them."""

import ast
import os
import time
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from eolab.runs import warm

ASKED = """
import os, sys
known = ["keras" in sys.modules, "eolab" in sys.modules]
(os.getpid(), os.environ["EOLAB_WORD"], os.getcwd(), *known, sys.path[0])
"""


@pytest.mark.notebook
@pytest.mark.skipif(
    "EOLAB_KERNELS" not in os.environ, reason="kernels are forked on Linux with TensorFlow alone"
)
def test_a_forked_kernel_is_as_asked_and_ends_with_what_stands_for_it(tmp_path):
    environment = os.environ | {"EOLAB_WORD": "given"}
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path), env=environment)
    try:
        answers = []
        client.execute_interactive(ASKED, output_hook=answers.append, timeout=60)
        (said,) = (a["content"]["data"]["text/plain"] for a in answers if a["msg_type"] == "execute_result")
        pid, word, folder, keras, package, first = ast.literal_eval(said)
        assert (word, folder, keras, package) == ("given", str(tmp_path), True, False)
        assert Path(first) != Path(__file__).parent
        assert Path("/proc", str(pid)).exists()
    finally:
        manager.provisioner.process.kill()
        client.stop_channels()
    deadline = time.monotonic() + 10
    while Path("/proc", str(pid)).exists():
        assert time.monotonic() < deadline, "the kernel goes on"
        time.sleep(0.1)
    manager.cleanup_resources()


def test_notebooks_that_begin_a_study_do_not_wait_for_keras():
    """What imports it is told by the text of a notebook."""
    books = Path(__file__).parents[1].glob("notebooks/*/*.ipynb")
    learn = {f"{book.parent.name}/{book.stem}" for book in books if warm.LEARNS.search(book.read_text())}
    assert not [name for name in learn if "/01_" in name]
    networks = ("clearing/05_train_degree", "flood/03_train_convlstm", "landcover/04_train_pixels")
    assert learn > {*networks, "landslide/03_train_segmentation", "scenes/03_train_labels"}
