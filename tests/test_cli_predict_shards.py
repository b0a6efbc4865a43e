"""Archives and Parquet files as inputs, and an output for each, whatever stops a run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_files import image_bytes
from conftest import ROOT, Run, command, fill, wait_until
from hypothesis import given
from hypothesis import strategies as st
from parquet_files import write
from typer.testing import CliRunner

import catclf
from catclf.cli.app import app
from catclf.cli.records import job_of, pending
from catclf.errors import SettingsError
from catclf.images.preprocess import Preprocess
from catclf.storage.parquet import ParquetRows
from catclf.text import to_install

SIZE, M = 8, 20
SHARDS, EACH = 40, 6
NAMES = [f"s-{number:03d}.tar" for number in range(SHARDS)]
KILLS = int(os.environ.get("CATCLF_KILLS", "4"))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """A folder with a model of noise."""
    w = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, 1))
    catclf.save(catclf.Model(w, 0.0, Preprocess(SIZE), ("dog", "cat")), tmp_path / "model.npz")
    return tmp_path


@pytest.fixture
def out(noise: Path) -> Path:
    """Where outputs go, beside forty archives of six images."""
    example = ROOT / "data" / "examples" / "fox.png"
    with tarfile.open(noise / NAMES[0], "w") as archive:
        for image in range(EACH):
            archive.add(example, f"{image}.png")
    content = (noise / NAMES[0]).read_bytes()
    fill(noise, dict.fromkeys(NAMES, content))
    return noise / "out"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.integers(1, 30), st.integers(0, 60))
def test_the_parts_are_all_once(tmp_path_factory: pytest.TempPathFactory, n: int, m: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "empty"
    names = [f"{number}.tar" for number in range(m)]
    taken = [
        name for k in range(1, n + 1) for (name,), _ in pending(names, folder, ".tsv", f"{k}/{n}")
    ]
    assert sorted(taken) == sorted(names)


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_parts_that_are_none_are_refused(part: str) -> None:
    with pytest.raises(SettingsError, match="give K/N with 1 <= K <= N"):
        job_of(part)


def test_each_shard_has_its_output_and_keeps_it(run: Run, out: Path) -> None:
    run("predict", "s-{000..039}.tar", "--output-dir", "out", "--part", "1/2").done()
    assert names_in(out) == [f"{name}.tsv" for name in NAMES[::2]]
    (out / "s-000.tar.tsv").write_text("kept\n")
    result = run("predict", "s-*.tar", "--output-dir", "out")
    kept = (
        "catclf: out: 20 outputs of 40 are there and stay: remove those that are to be made again\n"
    )
    assert (result.code, result.stdout, result.stderr) == (0, "", kept)
    assert names_in(out) == [f"{name}.tsv" for name in NAMES]
    assert (out / "s-000.tar.tsv").read_text() == "kept\n"
    direct = run("predict", NAMES[7]).done()
    assert (out / f"{NAMES[7]}.tsv").read_text() == direct
    assert direct.count("\n") == EACH


@pytest.mark.parametrize(("length", "records"), [(0.0, 1), (0.5, 5)])
def test_a_shard_that_is_not_whole_is_scored_again(
    run: Run, out: Path, length: float, records: int
) -> None:
    shard, mark = out.parent / NAMES[1], out / f"{NAMES[1]}.csv.failed"
    command = ("predict", *NAMES[:3], "--output-dir", "out", "--format", "csv")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: int(length * len(whole))] or b"no tar")
    for _ in range(2):  # as long as it is so
        result = run(*command, "none.tar")
        assert result.code == 3
        assert f"catclf: {NAMES[1]}: is damaged" in result.stderr
        assert "catclf: 2 arguments could not be read, or not to the end" in result.stderr
        assert mark.read_text().startswith(f"{NAMES[1]}: is damaged")
        assert (out / "none.tar.csv.failed").exists()
        assert len(names_in(out)) == 6
        lines = [(out / f"{name}.csv").read_text().count("\n") for name in NAMES[:3]]
        assert lines == [EACH + 1, records + 1, EACH + 1]  # with their heads
    shard.write_bytes(whole)
    assert run(*command).code == 0
    assert not mark.exists()
    direct = run("predict", NAMES[1], "--format", "csv").done()
    assert (out / f"{NAMES[1]}.csv").read_text() == direct
    assert run(*command).stderr.startswith("catclf: out: 3 ")


def test_lists_without_names_have_outputs_without_records(run: Run, out: Path) -> None:
    fill(out.parent, {"full": f"{NAMES[0]}\n", "a": "", "b": "", "c": ""})
    run("predict", "@a", "@full", "@b", "@c", "--output-dir", "out").done()
    lines = {path.name: path.read_text().count("\n") for path in out.iterdir()}
    assert lines == {"a.tsv": 0, "full.tsv": EACH, "b.tsv": 0, "c.tsv": 0}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ("a/x.tar b/x.tar --output-dir out", "would both be written to out/x.tar.tsv"),
        ("- --output-dir out", "has no name for an output in --output-dir"),
        ("x.tar --part 1/2", "--part is of the outputs in --output-dir"),
        ("x.tar --output-dir out -o y", "exclude each other"),
        ("x.tar --output-dir s-000.tar", "s-000.tar: is no folder"),
        ("none*.tar --output-dir out", "none*.tar: there is no file of such a name\n"),
        ("{a..b}*.tar --output-dir out", "{a..b}*.tar: there is no file of such a name\n"),
    ],
)
def test_what_cannot_be_is_one_line(run: Run, out: Path, args: str, why: str) -> None:
    run("predict", *args.split()).refused(why)
    assert not out.exists()


def test_killed_at_any_moment_and_run_again_every_image_has_one_record(out: Path) -> None:
    def done() -> int:
        return len(list(out.glob("s-*.tsv")))

    randomly, killed = random.Random(2), 0
    args = [command(), "predict", "s-*.tar", "--output-dir", "out"]
    for kill in range(KILLS):
        process = subprocess.Popen(args, cwd=out.parent, start_new_session=True)
        enough = SHARDS * kill // KILLS
        wait_until(lambda: process.poll() is not None or done() > enough)  # noqa: B023
        time.sleep(randomly.random() * 0.02)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed > KILLS // 2
    subprocess.run(args, cwd=out.parent, check=True)
    lines = [line for path in out.glob("s-*.tsv") for line in path.read_text().splitlines()]
    found = sorted(line.split("\t")[0] for line in lines)
    assert found == sorted(f"{name}:{i}.png" for name in NAMES for i in range(EACH))


def test_an_output_has_the_name_that_was_given_and_not_that_of_a_blob(run: Run, out: Path) -> None:
    (out.parent / "blobs").mkdir()
    (out.parent / NAMES[0]).rename(out.parent / "blobs" / "0a1b")
    for name in ("a.tar", "b.tar"):
        (out.parent / name).symlink_to("blobs/0a1b")
    assert run("predict", "a.tar", "b.tar", "./@", "--output-dir", "out").code == 3
    assert names_in(out) == ["@.tsv", "@.tsv.failed", "a.tar.tsv", "b.tar.tsv"]


# Parquet files


@pytest.fixture
def photos(noise: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images as files and in two Parquet files."""
    contents = [image_bytes(seed) for seed in range(M)]
    fill(noise, {f"in/{number:02d}.png": content for number, content in enumerate(contents)})
    for part in range(2):
        write(noise / f"s-{part}.parquet", contents[part * 10 :][:10], None, paths=False)
    monkeypatch.chdir(noise)
    return noise


def predict(args: str) -> Any:
    return CliRunner().invoke(app, ["predict", *args.split()])


def test_rows_are_scored_as_files(run: Run, photos: Path) -> None:
    files = [line.split("\t")[1:] for line in run("predict", "in").done().splitlines()]
    lines = [line.split("\t") for line in run("predict", "s-*.parquet").done().splitlines()]
    assert [line[1:] for line in lines] == files
    assert [line[0] for line in lines] == [f"s-{i // 10}.parquet:{i % 10}" for i in range(M)]


def test_records_are_typed_columns_with_the_numbers_of_jsonl(photos: Path) -> None:
    (photos / "in" / "03.png").write_bytes(b"no image")
    assert predict("in --format jsonl -o out.jsonl").exit_code == 3
    assert predict("in --format parquet -o out.parquet").exit_code == 3
    table = pq.read_table("out.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        **dict.fromkeys(("path", "label", "model", "error", "message"), "string"),
        **dict.fromkeys(("probability", "z"), "double"),
        **dict.fromkeys(("path_base64", "label_base64"), "string"),
    }
    rows = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
    assert rows == [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    facts = json.loads(table.schema.metadata[b"catclf"])
    assert facts["classes"] == ["dog", "cat"]
    assert facts["model"] == rows[0]["model"]
    Path("empty").write_text("")
    assert predict("@empty --format parquet -o out.parquet").exit_code == 0
    assert pq.read_table("out.parquet").num_rows == 0


def test_binary_records_go_to_no_terminal(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catclf.cli.predict.is_terminal", lambda stream: True)
    result = predict("in --format parquet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--format parquet is binary: give --output" in result.stderr


@pytest.mark.parametrize("content", [b"", b"PAR1 no Parquet PAR1"])
def test_a_bad_file_is_a_record_and_the_others_are_scored(photos: Path, content: bytes) -> None:
    Path("s-0.parquet").write_bytes(content)
    result = predict("s-0.parquet s-1.parquet")
    assert result.exit_code == 3
    assert result.stderr.startswith("catclf: s-0.parquet: is damaged, or not a Parquet file: ")
    assert result.stdout.count("\n") == 11
    os.mkfifo("pipe.parquet")
    odd = predict("none.parquet pipe.parquet")
    assert "none.parquet: there is no such file" in odd.stderr
    assert "pipe.parquet: is not a regular file" in odd.stderr


def test_images_above_the_limit_and_without_bytes_fail_alone(photos: Path) -> None:
    write(photos / "s-0.parquet", [image_bytes(1), None, bytes(5000)], None)
    result = predict("s-0.parquet --max-bytes 4000 --format csv")
    assert result.exit_code == 3
    sound, *failed = result.stdout.splitlines()[1:]
    assert sound.startswith("s-0.parquet:0.png,")
    assert failed == [
        's-0.parquet:1.png,,,"has no bytes in its file, at most a path, which is not read"',
        's-0.parquet:2.png,,,"has 5000 bytes, more than the limit"',
    ]


def test_a_damaged_row_group_costs_its_own_images(photos: Path) -> None:
    contents = [image_bytes(seed) for seed in range(6)]
    path = write(photos / "s-0.parquet", contents, None, group=2, compression="zstd")
    facts = pq.ParquetFile(path).metadata.row_group(1).column(0)
    content = bytearray(path.read_bytes())
    start = facts.dictionary_page_offset or facts.data_page_offset
    content[start : start + facts.total_compressed_size] = bytes(facts.total_compressed_size)
    path.write_bytes(content)
    result = predict("s-0.parquet")
    assert result.exit_code == 3
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == [f"s-0.parquet:{row}.png" for row in range(6)]
    assert [bool(line[1]) for line in lines] == [True, True, False, False, True, True]


def test_rows_are_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ParquetRows, "GROUP", 4)
    rows = ParquetRows({"a": "text", "b": "number"}, {})
    expected = {
        "a": [f"{i}" for i in range(10)],
        "b": [i / 3 if i % 2 else None for i in range(10)],
    }
    for _ in range(2):  # one file after the other
        content = b"".join(map(rows.add, zip(*expected.values(), strict=True))) + rows.end()
        file = pq.ParquetFile(pa.BufferReader(content))
        assert [file.metadata.row_group(i).num_rows for i in range(3)] == [4, 4, 2]
        assert file.read().to_pydict() == expected


def test_without_the_extra_it_is_one_line(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    needed = f"Parquet needs pyarrow: {to_install('parquet')}\n"
    result = predict("in --format parquet -o out.parquet")
    assert (result.exit_code, result.stderr) == (2, f"catclf: {needed}")
    assert not Path("out.parquet").exists()
    result = predict("s-0.parquet")
    assert (result.exit_code, result.stderr) == (3, f"catclf: s-0.parquet: {needed}")
