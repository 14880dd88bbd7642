"""The page, in a browser: photos go in, and what it then shows."""

import base64
from pathlib import Path

import pytest
from playwright.sync_api import expect
from serve.conftest import fitted, serving

# What a browser does when files are let go over the page.
DROP = """(data) => {
  const files = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  files.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def visit(browser):
    """Opens the page; at the end, nothing went wrong in it, and it asked nobody but its server."""
    contexts, errors, asked = [], [], []

    def open_page(url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append((url, request.url)))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not [error for error in errors if "401" not in error]
    assert all(to.startswith((f"{url}/", f"blob:{url}", "data:")) for url, to in asked), asked


@pytest.fixture(scope="module")
def server(made_world, bundle):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        with serving(bundle) as running:
            yield running


def test_picked_photos_get_classes_votes_and_weights(visit, server, world):
    page = visit(server.url)
    expect(page.locator("#facts")).to_have_text("3 classes · 2 backbones")
    page.get_by_label("Choose photos").set_input_files(world.paths[::12])
    cards = page.locator("article:not([aria-busy])")
    expect(cards).to_have_count(3)
    expect(page.get_by_role("status")).to_have_text("3 photos answered")
    assert page.locator("article h2").all_inner_texts() == ["apple", "leaf", "sea"]
    first = cards.first
    assert len(first.locator(".bars dt").all_inner_texts()) == 3
    rows = [row.split("\t") for row in first.locator("tbody tr").all_inner_texts()]
    assert [row[0] for row in rows] == ["tint", "edges"]
    assert all(row[-1].strip().endswith("%") for row in rows)
    assert "how far the gate trusts each" in first.inner_text()
    assert first.locator("img").evaluate("(image) => image.naturalWidth") > 0


def test_dropped_photos_too(visit, server, photo):
    page = visit(server.url)
    expect(page.locator("#about")).to_be_visible()
    page.evaluate(DROP, base64.b64encode(photo).decode())
    expect(page.locator("article h2")).to_have_text("apple")
    expect(page.locator("article .file")).to_have_text("dropped.png")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("article")).to_have_count(0)
    expect(page.locator("#about")).to_be_visible()


def test_what_is_no_photo_is_told(visit, server, tmp_path):
    (tmp_path / "<b>notes.png").write_text("<script>alert(1)</script>")
    page = visit(server.url)
    page.get_by_label("Choose photos").set_input_files(tmp_path / "<b>notes.png")
    expect(page.locator("article h2")).to_have_text("Not an image")
    expect(page.locator("article .file")).to_have_text("<b>notes.png")


def test_how_a_cascade_came_to_it(visit, world, tmp_path):
    fitted(world, budget=1000.0, budget_unit="ms").save(tmp_path / "model")
    with serving(tmp_path / "model") as running:
        page = visit(running.url)
        page.get_by_label("Choose photos").set_input_files(world.paths[0])
        way = page.locator(".way li")
        expect(way).to_have_count(4)  # a head, two backbones, and why no other
        assert "100.0%" in way.nth(2).inner_text()
        expect(way.last).to_have_text("Stopped: all backbones were asked")
        assert "what each adds to the log-odds of apple" in page.locator(".why").inner_text()


def test_the_key_is_asked_for(visit, bundle, world):
    with serving(bundle, MANYEYES_API_KEY="secret") as running:
        page = visit(running.url)
        field = page.get_by_label("This server wants an API key")
        expect(field).to_be_focused()
        field.fill("wrong")
        field.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That key is not the right one.")
        field.fill("secret")
        field.press("Enter")
        expect(page.locator("#facts")).to_have_text("3 classes · 2 backbones")
        page.get_by_label("Choose photos").set_input_files(world.paths[0])
        expect(page.locator("article h2")).to_have_text("apple")


def test_by_keyboard_and_on_a_phone(visit, server, world):
    page = visit(server.url, viewport={"width": 390, "height": 844})
    # Listened to from the start: what opens before the browser was told of a listener is lost.
    page.on("filechooser", lambda chooser: chooser.set_files(world.paths[0]))
    expect(page.locator("#about")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Choose photos")).to_be_focused()
    for number, pressed in enumerate(["Enter", "Space"], 1):
        page.keyboard.press(pressed)
        expect(page.locator("article h2")).to_have_text(["apple"] * number)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_one_file_that_names_no_other_host():
    from manyeyes import serve

    text = (Path(serve.__file__).parent / "page.html").read_text(encoding="utf-8")
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
