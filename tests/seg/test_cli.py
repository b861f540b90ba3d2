"""What all commands share: help, exit codes, errors of one line, and no secret in text that is kept or shown."""

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from seg.cli import ArgumentParser, UserError, byte_progress, complain, redact, status_of, track

PROJECT = Path(__file__).parents[2]
COMMANDS = [
    path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__main__")
    for package in ("analysis", "seg", "study")
    for path in sorted((PROJECT / package).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]

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
    code = "import os; from seg.cli import status_of; status_of(lambda: open(os.environ['MY_TOKEN']).close())"
    crashed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert crashed.returncode == 1 and crashed.stderr.startswith("Traceback")
    assert crashed.stderr.endswith("No such file or directory: '***'\n") and SECRET not in crashed.stderr


def parser_of(command: str) -> ArgumentParser:
    path = PROJECT / command.replace(".", "/")
    module = importlib.import_module(f"{command}.__main__" if path.is_dir() else command)
    parser = module.parser()
    assert isinstance(parser, ArgumentParser)
    return parser


def test_the_commands_are_found() -> None:
    assert {"study.run", "seg.predict", "analysis.report"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_and_tells_every_default(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = parser_of(command)
    text = parser.format_help()
    assert text.startswith(f"usage: python -m {command} ")
    assert parser.description and parser.description in text and parser.description.endswith(".")
    assert max(map(len, text.splitlines())) <= 80
    told = " ".join(text.split())
    for action in parser._actions:
        assert action.help, f"{action.dest}: no help"
        if action.default not in (None, False, [], argparse.SUPPRESS):
            assert re.search(rf"\(default: {re.escape(str(action.default))}\b", told), f"{action.dest}: its default"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_help_are_accepted(command: str) -> None:
    parser = parser_of(command)
    examples = (parser.epilog or "").splitlines()
    assert examples[0] == "examples:" and len(examples) > 1
    for line in examples[1:]:
        words = shlex.split(line.partition(" > ")[0])
        assert words[:3] == ["python", "-m", command]
        parser.parse_args(words[3:])


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line_and_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    required = {"study.export": ["--to", "csv"], "seg.predict": ["--out", "o"], "seg.recode": ["--threshold", "1"]}
    with pytest.raises(SystemExit) as ended:
        parser_of(command).parse_args([*required.get(command, []), "s", "1", "--nonsense"])
    told = capsys.readouterr()
    assert ended.value.code == 2 and told.out == ""
    assert re.fullmatch(r"error: .*--nonsense; python -m \S+ --help shows what may be given\n", told.err)


def test_an_abbreviated_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser_of("study.run").parse_args(["phantom", "--epoch", "3"])
    assert "--epoch 3" in capsys.readouterr().err


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise UserError("masks: missing; give their folder")

    def interrupt() -> None:
        raise KeyboardInterrupt

    assert [status_of(lambda: None), status_of(lambda: 1), status_of(refuse), status_of(interrupt)] == [0, 1, 2, 130]
    assert capsys.readouterr().err == "error: masks: missing; give their folder\n\ninterrupted\n"


def test_progress_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever FORCE_COLOR says: stderr may be a log."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    with byte_progress() as bar:
        bar.advance(bar.add_task("file", total=10), 10)
    assert capsys.readouterr() == ("", "")
