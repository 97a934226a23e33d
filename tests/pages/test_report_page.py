"""The report page in a real browser: pictures decode, the slider moves, keys work, nothing overflows, it loads quickly."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

import hw_profiles
from tests.unit.hw_profiles.test_chip_reports import probed_reports, reports

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

PICTURES = """
  const images = [...document.images].map(i => [i.alt, i.complete, i.naturalWidth, i.naturalHeight, i.clientWidth]);
  const charts = [...document.querySelectorAll("svg")].map(s => [s.getAttribute("aria-label"), s.clientWidth, s.clientHeight]);
  const cores = [...document.querySelectorAll("svg.mesh rect.core")].map(r => r.getBoundingClientRect().width);
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  return {images, charts, cores: cores.length, smallest: Math.min(...cores), wide};"""

SLIDER = """
  const box = document.querySelector(".steps"), range = box.querySelector("input[type=range]");
  const fills = () => [...box.querySelectorAll("rect.core")].map(core => core.getAttribute("fill"));
  const links = () => [...box.querySelectorAll("rect.link")].map(link => link.getAttribute("fill"));
  const said = () => box.querySelector("output").textContent;
  const look = () => ({fills: fills(), links: links(), said: said(), cursor: document.querySelector(".cursor").getAttribute("visibility")});
  const seen = {shown: !box.querySelector(".player").hidden, mean: look()};
  range.scrollIntoView({block: 'center'});
  const at = range.getBoundingClientRect();
  const under = document.elementFromPoint(at.left + at.width / 2, at.top + at.height / 2);
  seen.reachable = under === range;
  range.value = 3; range.dispatchEvent(new Event("input", {bubbles: true}));
  seen.third = look();
  const select = box.querySelector("select");
  seen.metrics = [...select.options].map(option => option.textContent);
  select.value = 1; select.dispatchEvent(new Event("change", {bubbles: true}));
  seen.other = look();
  const mesh = box.querySelector(".meshbox"), told = () => box.querySelector(".chosen-core").textContent;
  mesh.focus();
  seen.focused = document.activeElement === mesh;
  for (const key of ["ArrowRight", "ArrowRight", "ArrowDown"]) { mesh.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); (seen.told ||= []).push(told()); }
  [...box.querySelectorAll("rect.core")].at(-3).dispatchEvent(new MouseEvent("click", {bubbles: true}));
  seen.clicked = told();
  range.value = 0; range.dispatchEvent(new Event("input", {bubbles: true}));
  select.value = 0; select.dispatchEvent(new Event("change", {bubbles: true}));
  seen.back = look();
  seen.valuetext = range.getAttribute("aria-valuetext");
  seen.unlabelled = [...document.querySelectorAll("input, select")].filter(e => !document.querySelector(`label[for="${e.id}"]`)).length;
  return seen;"""

LOADED = """
  const [entry] = performance.getEntriesByType("navigation");
  return {ms: entry.domContentLoadedEventEnd - entry.startTime, requests: performance.getEntriesByType("resource").filter(r => !r.name.startsWith("data:")).length};"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hw_profiles.write_report(reports(), tmp_path_factory.mktemp("report"))[2]


@pytest.fixture(scope="module")
def probed_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hw_profiles.write_report(probed_reports(), tmp_path_factory.mktemp("probed"))[2]


def browse(page: Path, folder: Path, *flags: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8")


def ask(page: Path, folder: Path, script: str, *flags: str, text: str | None = None) -> Any:
    """What `script` returns when the page has loaded."""
    probe = (
        "<script>addEventListener('load', () => setTimeout(() => { document.body.dataset.probe = "
        f"JSON.stringify((() => {{{script}}})()); }}, 0));</script></body>"
    )
    probed = folder / "probed.html"
    whole = page.read_text(encoding="utf-8") if text is None else text
    probed.write_text(whole.replace("</body>", probe), encoding="utf-8")
    found = re.search(
        r'data-probe="([^"]*)"', browse(probed, folder, "--virtual-time-budget=4000", *flags, "--dump-dom")
    )
    assert found is not None, "the page never finished loading"
    return json.loads(unescape(found[1]))


def test_pictures_decode_and_cores_are_drawn(page: Path, tmp_path: Path) -> None:
    seen = ask(page, tmp_path, PICTURES)
    assert [alt.split(":")[0] for alt, *_ in seen["images"]] == ["window 3"]
    for alt, complete, width, height, shown in seen["images"]:
        assert complete, alt
        assert min(width, height, shown) > 50, alt
    kinds = [name.split(":")[0].split(",")[0] for name, _, _ in seen["charts"]]
    load = "synaptic operations per step of each core"
    assert kinds == ["Bars", load, "layers on cores", "Bars", load, "layers on cores", "Bars"]
    assert all(min(width, height) > 50 for _, width, height in seen["charts"])
    assert seen["cores"] == sum(report.static.cores for report in reports())
    assert seen["smallest"] > 4
    assert not seen["wide"], "the page is wider than a 1280 pixel window"


def test_the_slider_shows_every_step(probed_page: Path, tmp_path: Path) -> None:
    seen = ask(probed_page, tmp_path, SLIDER)
    assert seen["shown"]
    assert seen["reachable"], "something lies over the slider"
    assert seen["mean"]["said"] == "all 12 steps, mean"
    assert seen["third"]["said"].startswith("step 3 of 12: ")
    assert ", waits for " in seen["third"]["said"]
    assert seen["third"]["fills"] != seen["mean"]["fills"]
    assert seen["third"]["links"] != seen["mean"]["links"]
    assert (seen["mean"]["cursor"], seen["third"]["cursor"]) == ("hidden", "visible")
    assert seen["metrics"] == ["synaptic operations", "messages in", "messages out", "spikes"]
    assert seen["other"]["fills"] != seen["third"]["fills"]
    # Back at the start the page looks as it came from the server.
    assert seen["back"] == seen["mean"]
    assert seen["valuetext"] == "all 12 steps, mean"


def test_keyboard_and_pointer_choose_cores(probed_page: Path, tmp_path: Path) -> None:
    seen = ask(probed_page, tmp_path, SLIDER)
    assert seen["focused"]
    assert seen["unlabelled"] == 0
    assert seen["told"][0].startswith("core 0, stem, ")
    assert len(set(seen["told"])) == 3
    assert all(", step 3: " in text and " messages in, " in text for text in seen["told"])
    assert seen["clicked"] not in seen["told"]


def test_a_probed_page_has_its_rasters_and_steps(probed_page: Path, tmp_path: Path) -> None:
    seen = ask(probed_page, tmp_path, PICTURES)
    kinds = [name.split(":")[0] for name, _, _ in seen["charts"]]
    assert kinds.count("Raster") == 1
    # Only one of the two chips has prices, and so times.
    assert kinds.count("Columns") == 1
    assert not seen["wide"]


def test_it_loads_in_less_than_a_second_from_one_file(probed_page: Path, tmp_path: Path) -> None:
    assert probed_page.stat().st_size < 5_000_000
    # Other work on the machine only makes it slower: the best of three counts.
    found = [ask(probed_page, tmp_path, LOADED) for _ in range(3)]
    assert min(entry["ms"] for entry in found) < 1000
    assert {entry["requests"] for entry in found} == {0}


def test_it_prints_without_its_controls(probed_page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(probed_page, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    content = printed.read_bytes()
    assert content.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
    script = """
      const rules = [...document.styleSheets[0].cssRules].filter(r => r.media && r.media.mediaText === "print");
      return {rules: rules.length, hidden: rules[0].cssText.includes(".player")};"""
    assert ask(probed_page, tmp_path, script) == {"rules": 1, "hidden": True}


def test_a_narrow_window_scrolls_tables_not_the_page(probed_page: Path, tmp_path: Path) -> None:
    # The figures that no table holds, and the rows that texts make tall.
    script = """
      const wide = [...document.querySelectorAll("section, .card, .pair > div, .wide > div, figure, .player")]
        .filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)
        .map(e => e.className || e.tagName);
      const tallest = Math.max(...[...document.querySelectorAll("tr")].map(e => e.clientHeight));
      return {wide, tallest};"""
    text = probed_page.read_text(encoding="utf-8")
    assert "slowest core</dt><dd>" in text
    text = text.replace("slowest core</dt><dd>", f"slowest core</dt><dd>{3 * 'decoder.block2.project_spike.'}")
    seen = ask(probed_page, tmp_path, script, "--window-size=340,2400", text=text)
    assert seen["wide"] == []
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


def test_a_comparison_is_a_page_too(tmp_path: Path) -> None:
    named = [("one", report) for report in reports()]
    page = tmp_path / "compare.html"
    page.write_text(hw_profiles.render_comparison(named), encoding="utf-8")
    script = "return {charts: document.querySelectorAll('svg.chart').length, sections: document.querySelectorAll('section').length};"
    # The page allows no script at all, the probe's included.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    seen = ask(page, tmp_path, script, text=text)
    # Loihi 1, fp32 and int8 have prices; Loihi 2 has none. The last section holds the sources.
    assert seen == {"charts": 3, "sections": 5}
