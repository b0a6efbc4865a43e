"""Addresses of clusters: what is read, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run

from catclf.cluster import Address, parse
from catclf.errors import ClusterError, SettingsError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local:2", Address(processes=2)),
        ("tcp://localhost:8786", Address("tcp://localhost:8786")),
        ("tcp://127.3.2.1:8786", Address("tcp://127.3.2.1:8786")),
        ("tcp://[::1]:8786", Address("tcp://[::1]:8786")),
        ("tls://far.example:8786", Address("tls://far.example:8786")),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "local", "local:", "local:0", "local:-1", "local:٣", "local:9999"),
        *("http://a:1", "tcp://a", "tcp://:1", "tcp://a:b", "tcp://a:99999999", "tls:1"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="cluster="):
        parse(text, insecure=True)


@pytest.mark.parametrize("host", ["10.0.0.1", "far.example", "localhost.example", "0.0.0.0"])
def test_tcp_beyond_this_machine_needs_a_word(host: str) -> None:
    text = f"tcp://{host}:8786"
    with pytest.raises(SettingsError, match="can run code as you"):
        parse(text)
    assert parse(text, insecure=True) == Address(text)


def test_the_file_of_a_scheduler_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"
    for address in ("tcp://127.0.0.1:1", "tls://far.example:2"):
        path.write_text(json.dumps({"address": address, "workers": {}}))
        assert parse(f"file:{path}") == Address(address)
    path.write_text(json.dumps({"address": "tcp://10.0.0.1:1"}))
    with pytest.raises(SettingsError, match="can run code as you"):
        parse(f"file:{path}")
    for text in ("{}", "[1]", "no"):
        path.write_text(text)
        with pytest.raises(ClusterError, match="is not the file of a scheduler"):
            parse(f"file:{path}")
    path.unlink()
    with pytest.raises(ClusterError, match="start the scheduler first"):
        parse(f"file:{path}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "tcp://10.0.0.1:8786"], "--insecure on a network of your own"),
        (["--cluster", "local:0"], "give local:2"),
        (["--insecure"], "give both"),
        (["--cluster", "local:2", "--features", "hog"], "full passes"),
        (
            ["--cluster", "local:2", "--features", "hog", "--l2", "1", "--cache", "rows"],
            "--cache and a fraction",
        ),
        (["--cluster", "local:2", "--l2", "auto"], "full passes"),
        (["--cluster", "local:2", "--batch-size", "9"], "full passes"),
        (["--cluster", "local:2", "--validation", "0.2"], "full passes"),
        (["--cluster", "local:2", "--method", "gram"], "full passes"),
    ],
)
def test_what_a_cluster_cannot_do_is_one_line(run: Run, options: list[str], words: str) -> None:
    run("train", *options).refused(words)
