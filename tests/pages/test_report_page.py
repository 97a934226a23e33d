"""The report page in a real browser: its pictures decode, its cores are drawn, nothing overflows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import hw_profiles
from tests.unit.hw_profiles.test_chip_reports import reports

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,2400",
)

PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images].map(i => [i.alt, i.complete, i.naturalWidth, i.naturalHeight, i.clientWidth]);
  const cores = [...document.querySelectorAll("svg.mesh rect[fill]")].map(r => r.getBoundingClientRect().width);
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  document.body.dataset.probe = JSON.stringify({images, cores: cores.length, smallest: Math.min(...cores), wide});
});</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hw_profiles.write_report(reports(), tmp_path_factory.mktemp("report"))[2]


def browse(page: Path, folder: Path, *flags: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def test_pictures_decode_and_cores_are_drawn(page: Path, tmp_path: Path) -> None:
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    found = re.search(r'data-probe="([^"]*)"', browse(probed, tmp_path, "--dump-dom"))
    assert found is not None, "the page never finished loading"
    seen = json.loads(unescape(found[1]))
    kinds = [alt.split(":")[0] for alt, *_ in seen["images"]]
    assert kinds == ["Bars", "window 3", "Bars", "Bars"]
    for alt, complete, width, height, shown in seen["images"]:
        assert complete, alt
        assert min(width, height, shown) > 50, alt
    # Both chips show each core twice: by load and by layer.
    assert seen["cores"] == 2 * sum(report.static.cores for report in reports())
    assert seen["smallest"] > 4
    assert not seen["wide"], "the page is wider than a 1280 pixel window"


def test_a_narrow_window_scrolls_tables_not_the_page(page: Path, tmp_path: Path) -> None:
    # The figures that no table holds, and the rows that texts make tall.
    script = """<script>addEventListener("load", () => {
      const wide = [...document.querySelectorAll("section, .card, .pair > div, figure")]
        .filter(e => e.scrollWidth > e.clientWidth || e.getBoundingClientRect().right > innerWidth).length;
      const tallest = Math.max(...[...document.querySelectorAll("tr")].map(e => e.clientHeight));
      document.body.dataset.probe = JSON.stringify({wide, tallest});
    });</script></body>"""
    text = page.read_text(encoding="utf-8")
    assert "slowest core</dt><dd>" in text
    text = text.replace("slowest core</dt><dd>", f"slowest core</dt><dd>{3 * 'decoder.block2.project_spike.'}")
    probed = tmp_path / "narrow.html"
    probed.write_text(text.replace("</body>", script), encoding="utf-8")
    found = re.search(r'data-probe="([^"]*)"', browse(probed, tmp_path, "--window-size=340,2400", "--dump-dom"))
    assert found is not None, "the page never finished loading"
    seen = json.loads(unescape(found[1]))
    assert seen["wide"] == 0
    assert seen["tallest"] < 150


def test_page_is_not_blank(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(page, tmp_path, f"--screenshot={picture}")
    pixels = np.round(matplotlib.image.imread(picture)[..., :3] * 255).astype(int)
    assert pixels.shape[:2] == (2400, 1280)
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) > 500
    # Content from top to bottom: no band of 400 rows is one colour.
    for top in range(0, 2400, 400):
        assert pixels[top : top + 400].std() > 3, top
