"""Text that a record holds is shown in the report, and never run by it."""

import html.parser
import json
from pathlib import Path

import pandas as pd

from analysis.report import __main__ as report_command

MARK = "31337"
HOSTILE = f"</script><script>alert({MARK})</script><img src=x onerror=alert({MARK})>\"'><b onclick='alert({MARK})'>"


class Page(html.parser.HTMLParser):
    """What of a page would run: scripts that begin as ours do not, and attributes that are handlers."""

    def __init__(self, text: str):
        super().__init__()
        self.ran: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._script = tag == "script"
        self.ran += [f"{tag} {name}" for name, value in attributes if name.startswith("on")]
        self.ran += [f"{tag} {value}" for name, value in attributes if (value or "").startswith("javascript:")]

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.lstrip().startswith("alert("):
            self.ran.append(data)


def test_the_page_reader_finds() -> None:
    assert len(Page(HOSTILE).ran) == 3


def test_text_from_records_is_shown_and_not_run(study: Path) -> None:
    change_all(study)
    assert report_command.main([str(study)]) == 0
    page = (study / "report.html").read_text()
    assert Page(page).ran == []
    assert page.count("&lt;script&gt;alert") >= 5, "it is not shown at all"


def change_all(study: Path) -> None:
    """Every text that a person could have chosen."""
    path = study / "study.json"
    info = json.loads(path.read_text())
    named = {"name": f"phantom{HOSTILE}", "remark": HOSTILE, "class_names": [f"a{HOSTILE}", f"b{HOSTILE}"]}
    info["dataset"] |= named
    info["spec"] |= {"description": HOSTILE, "baselines": [{"name": HOSTILE, "published": {"iou": 0.5}}]}
    path.write_text(json.dumps(info | {"name": HOSTILE, "command": HOSTILE, "software": {HOSTILE: HOSTILE}}))
    for record_path in study.rglob("record.json"):
        record = json.loads(record_path.read_text())
        texts = {"id": HOSTILE, "reason": HOSTILE, "traceback": HOSTILE, "source": HOSTILE, "device": HOSTILE}
        record["experiment"] |= {"model": HOSTILE, "loss": HOSTILE, "augment": HOSTILE, "dataset": HOSTILE}
        record_path.write_text(json.dumps(record | texts))
    listed = json.loads((study / "gallery/gallery.json").read_text())
    ids = {image["id"] for image in listed["images"]}
    listed["images"] = [image | {"id": HOSTILE + image["id"]} for image in listed["images"]]
    (study / "gallery/gallery.json").write_text(json.dumps(listed))
    for counts in study.rglob("*counts*.parquet"):
        found = pd.read_parquet(counts)
        found["id"] = [HOSTILE + id if id in ids else id for id in found["id"]]
        found.to_parquet(counts, index=False)
