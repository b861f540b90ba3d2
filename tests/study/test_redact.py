"""No secret stays in text that is kept or shown, and text without one stays as it is."""

import json
import subprocess
import sys

import pytest

from study.redact import complain, redact

SECRET = "tr/uste+no1 here"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MY_TOKEN"):
        monkeypatch.delenv(name, raising=False)


ADDRESSES = [
    ("s3://user:pw@host/x", "s3://user:***@host/x"),
    ("x://user:pw@host", "x://user:***@host"),
    ("https:/user:pw@host/x: missing", "https:/user:***@host/x: missing"),
    ("redis://:pw@host", "redis://:***@host"),
    ("postgresql+psycopg://u:p@s/s:w@h:5432/db, ask a@b.org", "postgresql+psycopg://u:***@h:5432/db, ask a@b.org"),
    ("one https://a:1@h,https://b:2@h two", "one https://a:***@h,https://b:***@h two"),
    ("https://ghp_0123456789abcdef@github.com/x", "https://***@github.com/x"),
    ("https://h/x?X-Amz-Signature=ab12&X-Amz-Date=1&sig=x%2F", "https://h/x?X-Amz-Signature=***&X-Amz-Date=1&sig=***"),
    ("https://h/x?access_token=ab12#top", "https://h/x?access_token=***"),
    ("https://h/x?key=AIzaSy", "https://h/x?key=***"),
    ("host=h password='a b' user=x", "host=h password=*** user=x"),
    ("""{'key': 'me', 'secret': 'a"b', "a_secret": "x"}""", """{'key': 'me', 'secret': '***', "a_secret": '***'}"""),
    ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer ***"),
]


@pytest.mark.parametrize(("text", "shown"), ADDRESSES)
def test_what_an_address_or_a_header_hides(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/prefix/name@home",
        "http://127.0.0.1:8265/a@b",
        "http://[::1]:8265",
        "ssh://git@host/x",
        "sqlite:////tmp/x.db",
        "--set search.batch_size=8 encoder_lr=0.001 design=2 assign=3",
        "Invalid token: expected a number",
        "a basic knowledge of things; Basic training",
        "trial 3: CUDA out of memory: 2.00 GiB of 8.00",
        "C:/data/a@b",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "DB_PASSWORD",
        "PGPASSWORD",
        "HF_TOKEN",
        "X_SECRET_2",
        "WANDB_API_KEY",
    ],
)
def test_a_secret_variable_is_hidden_wherever_it_occurs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    forms = [SECRET, "tr%2Fuste%2Bno1%20here", "tr%2Fuste%2Bno1+here", json.dumps(SECRET)[1:-1]]
    assert redact(" | ".join(forms)) == " | ".join(["***"] * 4)


def test_a_secret_within_another_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "xabcdefghy")
    assert redact("got xabcdefghy, abcdefgh") == "got ***, ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [("HOME_OF_IT", SECRET), ("MY_TOKEN", "short"), ("RAY_AUTH_TOKEN_PATH", SECRET), ("TOKENIZERS", SECRET)],
)
def test_other_variables_are_not_hidden(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert redact(f"in {value} it is") == f"in {value} it is"


def test_an_error_is_printed_without_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    complain(ValueError(f"s3://me:pw@host: cannot be used ({SECRET})"))
    assert capsys.readouterr().err == "error: s3://me:***@host: cannot be used (***)\n"


def test_a_crash_is_printed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    code = "from study.redact import redact_crashes; redact_crashes(); import os; raise OSError(os.environ['MY_TOKEN'])"
    crashed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert crashed.returncode == 1 and crashed.stderr.startswith("Traceback")
    assert crashed.stderr.endswith("OSError: ***\n") and SECRET not in crashed.stderr
