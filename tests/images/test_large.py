"""Photos of many megapixels: what they take is bounded, whatever way their pixels are stored."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manyeyes.images import decode
from manyeyes.images import photo as photo_module

WIDTH, HEIGHT = 5000, 4000
SCRIPT = r"""
import re, sys
from pathlib import Path
from manyeyes.images import decode
def peak():
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
small, large = (Path(name).read_bytes() for name in sys.argv[1:])
decode(small, "small")
before = peak()
assert decode(large, "large").shape == (4000, 5000, 3)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "P"])
def test_a_large_photo_takes_less_than_eight_bytes_a_pixel(mode: str, tmp_path: Path) -> None:
    depth, shape = (np.uint16, ()) if mode == "I;16" else (np.uint8, (len(mode),) if mode != "P" else ())
    for name, (width, height) in {"small": (50, 40), "large": (WIDTH, HEIGHT)}.items():
        pixels = np.full((height, width, *shape), 7, depth)
        Image.fromarray(pixels, mode if mode == "P" else None).save(tmp_path / name, "PNG", compress_level=1)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "small"), str(tmp_path / "large")]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
    assert WIDTH * HEIGHT * 3 < taken < WIDTH * HEIGHT * 8


def test_only_two_large_photos_are_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, most, lock = 0, 0, threading.Lock()
    pixels = photo_module._pixels

    def counted(*given):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1
        return pixels(*given)

    monkeypatch.setattr(photo_module, "_pixels", counted)
    file = BytesIO()
    Image.new("RGB", (30, 20)).save(file, "PNG")
    for limit, expected in ((599, {2}), (600, set(range(3, 9)))):
        most = 0
        monkeypatch.setattr(photo_module, "LARGE_PIXELS", limit)
        with ThreadPoolExecutor(8) as threads:
            assert len(list(threads.map(lambda _: decode(file.getvalue(), "a"), range(16)))) == 16
        assert most in expected
